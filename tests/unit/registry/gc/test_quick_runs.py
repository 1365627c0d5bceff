"""A quick run looks at what is new, and gives up what whole runs would."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from lumper.model.images.garbage import GarbageKind
from lumper.registry.gc import collector as gc
from lumper.registry.gc.collector import Policy
from lumper.registry.metadata.memory import MemoryMetadata
from lumper.registry.registry import Registry
from lumper.registry.storage.memory import MemoryStorage
from parts.registries.loose_blobs import NOW, push


class Watched(MemoryMetadata):
    """Notes from when on things were looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.looked: list[datetime | None] = []

    async def idle_blobs(
        self, before: datetime, *, after: str = "", limit: int = 500, since: datetime | None = None
    ) -> list[tuple[str, int]]:
        self.looked.append(since)
        return await super().idle_blobs(before, after=after, limit=limit, since=since)


async def test_a_quick_run_looks_at_what_is_new_once_everything_was_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    metadata = Watched()
    registry = Registry(MemoryStorage(), metadata, NOW)
    begun = datetime.now(UTC)

    for quick in (True, True, False, True):
        await registry.collector.run(quick=quick)
    between = datetime.now(UTC)
    await registry.collector.run(dry_run=True)
    await registry.collector.run(quick=True)
    monkeypatch.setattr(gc, "_WHOLE_SECONDS", -1.0)
    await registry.collector.run(quick=True)

    first, second, third, fourth, dry, fifth, when_a_day_is_over = metadata.looked
    assert first is third is dry is when_a_day_is_over is None
    assert second is not None and fourth is not None and fifth is not None
    assert begun <= second < fourth < fifth < between  # what the dry run saw was not given up


async def test_quick_runs_give_up_step_by_step_what_whole_runs_would() -> None:
    registry = Registry(MemoryStorage(), MemoryMetadata(), NOW)
    await registry.collector.run(quick=True)
    await push(registry, b"x")

    kinds = [one.kind for _ in range(3) for one in (await registry.collector.run(quick=True)).garbage]

    assert kinds == [GarbageKind.LINK, GarbageKind.BYTES]


async def test_a_quick_run_reaches_back_to_what_was_left_alone_because_somebody_had_asked_for_it() -> None:
    metadata = Watched()
    registry = Registry(MemoryStorage(), metadata, Policy(timedelta(hours=1)))
    begun = datetime.now(UTC)

    for _ in range(2):
        await registry.collector.run(quick=True)

    since = metadata.looked[1]
    assert since is not None
    assert begun - timedelta(hours=4) <= since <= datetime.now(UTC) - timedelta(hours=4)
