"""The role that compares two images: it decides each pair once, and waits for a storage that is away."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from lumper.errors import StorageError
from lumper.line.history import History, open_history
from lumper.model.builds.build import Build, Outcome, Result
from lumper.model.builds.verification import Verification, Verified
from lumper.model.events import AttemptFinished, AttemptStarted, WorkerOnline
from lumper.model.images.image import private_tag
from lumper.model.links import Links
from lumper.model.source import Person, Push, parse_git_url
from lumper.queue.codec import encode
from lumper.registry.registry import Registry
from lumper.registry.storage.memory import MemoryStorage
from lumper.roles.acceptance import Acceptance
from lumper.roles.verifier import Verifier
from parts.registries.page_images import INDEX, MANIFEST, Put

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
    put: Put
    build: Build = field(init=False)

    async def pair(self, first: str, second: str) -> None:
        """These images come out of a build and of its repetition; they have private tags."""
        project = (await self.history.projects.all())[0]
        async with self.history.database.write() as connection:
            push = Push(IMAGE, "refs/tags/v1.0.0", first[-40:])
            build_id, _ = await self.history.builds.queue(connection, project, push)
        await self.ended(build_id, first)
        begun = await self.history.verifications.begin(build_id)
        self.build = await self.history.builds.get(build_id)
        await self.ended(begun.by, second)

    async def ended(self, build_id: int, digest: str) -> None:
        """A build has given this image."""
        acceptance, now = Acceptance(self.history), datetime.now(UTC)
        await acceptance.handle(AttemptStarted(build_id, 1, "c", "w", "boot", now))
        result = Result(Outcome.SUCCEEDED, "c" * 40, Person("Ada"), digest, 400)
        await acceptance.handle(AttemptFinished(build_id, 1, "c", now, 0, result))

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
    put = Put(registry, storage, IMAGE)
    await history.projects.add(parse_git_url("https://git.example.org/owner/app.git"))
    bench = Bench(history, registry, storage, put)
    await bench.pair(
        await put.image(private_tag(1, 1), layer=b"one"), await put.image(private_tag(2, 1), layer=b"other")
    )
    yield bench
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


async def test_a_database_that_fails_for_a_moment_decides_nothing(bench: Bench) -> None:
    bench.storage.fault = OperationalError("SELECT", {}, ConnectionError("gone"))
    await Verifier(bench.history, bench.registry).compare()
    assert (await bench.found()).state is Verified.COMPARING


async def test_platforms_in_another_order_are_the_same_image(bench: Bench) -> None:
    platforms = []
    for name in ("amd64", "arm64"):
        digest = await bench.put.image(layer=name.encode(), config={"os": "linux", "architecture": name})
        known = await bench.history.images.manifest(IMAGE, digest)
        assert known is not None
        platform = {"os": "linux", "architecture": name}
        platforms.append({"mediaType": MANIFEST, "digest": digest, "size": known.size, "platform": platform})
    first = await bench.put.manifest({"manifests": platforms}, [private_tag(3, 1)], INDEX)
    second = await bench.put.manifest({"manifests": platforms[::-1]}, [private_tag(4, 1)], INDEX)
    await bench.pair(first, second)
    await Verifier(bench.history, bench.registry).compare()
    found = await bench.found()
    assert (found.state, found.differences) == (Verified.REPRODUCIBLE, ())
    assert "in its order" in found.summary


async def test_a_fault_of_ours_ends_it_too(bench: Bench) -> None:
    bench.storage.fault = ZeroDivisionError()
    await Verifier(bench.history, bench.registry).compare()
    assert (await bench.found()).state is Verified.UNKNOWN
