"""The role that compares two images: it decides each pair once, and waits for a storage that is away."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from lumper.errors import StorageError
from lumper.history.store import History, open_history
from lumper.model.build import Build, Outcome, Result
from lumper.model.events import AttemptFinished, AttemptStarted, WorkerOnline
from lumper.model.image import private_tag
from lumper.model.links import Links
from lumper.model.source import Person, Push, parse_git_url
from lumper.model.verification import Verification, Verified
from lumper.queue.codec import encode
from lumper.registry.registry import Registry
from lumper.registry.storage.memory import MemoryStorage
from lumper.roles.acceptance import Acceptance
from lumper.roles.verifier import Verifier
from parts.page_images import Put

IMAGE = "owner/app"


class WeakStorage(MemoryStorage):
    """Fails with `fault`, if there is one."""

    fault: Exception | None = None

    async def read(self, *args: Any, **kwargs: Any) -> AsyncIterator[bytes]:
        """Bytes, if nothing is wrong."""
        if self.fault is not None:
            raise self.fault
        async for chunk in super().read(*args, **kwargs):
            yield chunk


@dataclass
class Bench:
    """A server's history and registry with two images, of which the second is to be compared with the first."""

    history: History
    registry: Registry
    storage: WeakStorage
    build: Build

    async def found(self) -> Verification:
        found = await self.history.verifications.of(self.build)
        assert found is not None
        return found


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    links = Links("http://lumper.test", "lumper.test", "127.0.0.1:5080")
    history = open_history(f"sqlite:///{tmp_path}/lumper.db", tmp_path / "logs", links, encode)
    await history.database.migrate()
    await history.builds.online(WorkerOnline("w", "boot", 100))
    storage = WeakStorage()
    registry = Registry(storage, history.images)
    put, acceptance = Put(registry, storage, IMAGE), Acceptance(history)
    project = await history.projects.add(parse_git_url("https://git.example.org/owner/app.git"))

    async def end(build_id: int, layer: bytes) -> None:
        digest = await put.image(private_tag(build_id, 1), layer=layer)
        now = datetime.now(UTC)
        await acceptance.handle(AttemptStarted(build_id, 1, "c", "w", "boot", now))
        result = Result(Outcome.SUCCEEDED, "c" * 40, Person("Ada"), digest, 400)
        await acceptance.handle(AttemptFinished(build_id, 1, "c", now, 0, result))

    async with history.database.write() as connection:
        first, _ = await history.builds.queue(connection, project, Push(IMAGE, "refs/tags/v1.0.0", "a" * 40))
    await end(first, b"one")
    begun = await history.verifications.begin(first)
    await end(begun.by, b"other")
    yield Bench(history, registry, storage, await history.builds.get(first))
    await registry.close()
    await history.database.close()


async def test_a_pair_that_differs_is_told_and_the_second_image_is_let_go(bench: Bench) -> None:
    assert (await bench.found()).state is Verified.COMPARING
    await Verifier(bench.history, bench.registry).compare()
    found = await bench.found()
    assert (found.state, found.summary) == (Verified.DIFFERS, "It differs in the layer 1.")
    assert found.decided_at is not None
    assert await bench.history.verifications.comparing() == []
    assert await bench.history.images.tag(IMAGE, private_tag(found.by, 1)) is None


async def test_a_storage_that_is_away_is_waited_for_also_by_the_next_server(bench: Bench) -> None:
    verifier = Verifier(bench.history, bench.registry)
    bench.storage.fault = StorageError("The disk is away.")
    await verifier.compare()
    await verifier.compare()  # too soon for another try
    assert (await bench.found()).state is Verified.COMPARING
    bench.storage.fault = None
    await Verifier(bench.history, bench.registry).compare()  # after a restart
    assert (await bench.found()).state is Verified.DIFFERS


async def test_an_image_that_went_meanwhile_ends_it(bench: Bench) -> None:
    await bench.history.images.delete_manifest(IMAGE, bench.build.digest)
    await Verifier(bench.history, bench.registry).compare()
    found = await bench.found()
    assert found.state is Verified.UNKNOWN
    assert f"the image {bench.build.digest} is not in the registry any more" in found.summary


async def test_a_fault_of_ours_ends_it_too(bench: Bench) -> None:
    bench.storage.fault = ZeroDivisionError()
    await Verifier(bench.history, bench.registry).compare()
    assert (await bench.found()).state is Verified.UNKNOWN
