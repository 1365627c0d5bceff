"""Pulls are noted in memory, written together, and not lost when the database is away for a moment."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import pytest

from lumper.errors import StorageError
from lumper.registry.metadata.memory import MemoryMetadata
from lumper.registry.retention.pulls import Pulls


class Counted(MemoryMetadata):
    """Metadata that count how often pulls are written, and refuse as often as they are told to."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[int] = []
        self.refusals = 0

    async def pulled(self, pulls: Mapping[tuple[str, str], datetime]) -> None:
        """Count."""
        if self.refusals:
            self.refusals -= 1
            raise StorageError("away")
        self.written.append(len(pulls))
        assert all(at <= datetime.now(UTC) for at in pulls.values())


async def test_many_pulls_of_a_manifest_are_one_row_of_one_write() -> None:
    metadata = Counted()
    pulls = Pulls(metadata)
    for number in range(1000):
        pulls.note("one", f"digest {number % 3}")
    assert metadata.written == []

    await pulls.flush()
    await pulls.flush()

    assert metadata.written == [3]


async def test_what_could_not_be_written_is_written_the_next_time() -> None:
    metadata = Counted()
    pulls = Pulls(metadata)
    for number in range(1200):
        pulls.note("one", f"digest {number}")
    metadata.refusals = 1
    with pytest.raises(StorageError):
        await pulls.flush()

    await pulls.flush()

    assert metadata.written == [500, 500, 200]


async def test_a_pull_that_comes_while_an_earlier_one_cannot_be_written_is_the_one_that_counts() -> None:
    manifest, at = ("one", "digest"), []

    class Away(Counted):
        async def pulled(self, pulls: Mapping[tuple[str, str], datetime]) -> None:
            at.append(pulls[manifest])
            while datetime.now(UTC) <= at[0]:
                continue
            noted.note(*manifest)
            await super().pulled(pulls)

    metadata = Away()
    noted = Pulls(metadata)
    noted.note(*manifest)
    metadata.refusals = 1
    with pytest.raises(StorageError):
        await noted.flush()

    await noted.flush()

    assert at[1] > at[0]
