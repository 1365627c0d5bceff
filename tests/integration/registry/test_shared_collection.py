"""A collector and the pushes of another process: two registries on one PostgreSQL and one storage."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from sqlalchemy import delete, update

from lumper.errors import Conflict, StorageError
from lumper.model.images.activity import SERVER
from lumper.registry.catalog.images import ImageHistory
from lumper.registry.gc.collector import Policy, Report
from lumper.registry.metadata.memory import MemoryMetadata
from lumper.registry.needs import Needs
from lumper.registry.port import StoredBlob
from lumper.registry.registry import Registry
from lumper.registry.storage.memory import MemoryStorage
from lumper.store.database import Database
from lumper.store.tables import blobs, needs, repository_blobs
from parts.registries.live_registry import digest_of, image_manifest
from parts.servers.postgresql import PostgresServer
from parts.suite.eventually import eventually

LAYER, OTHER = b"a layer", b"a layer that nobody asks for"
DIGEST, OTHER_DIGEST = digest_of(LAYER), digest_of(OTHER)
GRACE = timedelta(seconds=60)


class SlowStorage(MemoryStorage):
    """Commits and deletions of the layer wait for a word, if they are told to."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = asyncio.Event()
        self.going_on = asyncio.Event()
        self.going_on.set()
        self.deleted: list[str] = []

    async def _wait(self, digest: str) -> None:
        if digest == DIGEST and not self.going_on.is_set():
            self.begun.set()
            await self.going_on.wait()

    async def commit(self, upload: str, digest: str, rest: bytes = b"") -> StoredBlob | None:
        await self._wait(digest)
        return await super().commit(upload, digest, rest)

    async def delete(self, digest: str) -> None:
        await self._wait(digest)
        self.deleted.append(digest)
        await super().delete(digest)


class WatchedHistory(ImageHistory):
    """Knows when a push was told that a collector is at what it needs."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.database = database
        self.kept_waiting = asyncio.Event()

    async def need(self, repository: str, digests: Collection[str], seconds: float) -> set[str]:
        if claimed := await super().need(repository, digests, seconds):
            self.kept_waiting.set()
        return claimed


@dataclass
class Two:
    """`here` collects, `there` pushes; `metadata` is what `there` sees. `registry` makes another one of it."""

    here: Registry
    there: Registry
    storage: SlowStorage
    metadata: WatchedHistory
    registry: Callable[[], Registry]

    async def push(self, data: bytes = LAYER) -> None:
        """Push a layer at the other server."""

        async def pieces() -> AsyncIterator[bytes]:
            yield data

        session = await self.there.blobs.begin("one", "me")
        await self.there.blobs.append(session, 0, pieces())
        await self.there.blobs.finish(session, digest_of(data))

    async def collect(self, *unneeded: str) -> Report:
        """Collect here as if all had been there for an hour, and nobody had said for so long that it needs these."""
        async with self.metadata.database.write() as connection:
            then = datetime.now(UTC) - timedelta(hours=1)
            await connection.execute(update(repository_blobs).values(linked_at=then))
            await connection.execute(update(blobs).values(stored_at=then))
            await connection.execute(delete(needs).where(needs.c.digest.in_(unneeded)))
        if unneeded:
            self.there = self.registry()  # which does not remember that it has said so
        return await self.here.collector.run()

    async def gone(self) -> bool:
        """Collect here, while nobody needs the layer; whether its bytes went."""
        await self.collect(DIGEST)
        return DIGEST in self.storage.deleted

    async def other_gone(self) -> bool:
        """Collect here, while nobody needs the other layer; whether that went, and not the layer."""
        await self.collect(OTHER_DIGEST)
        assert DIGEST not in self.storage.deleted
        return OTHER_DIGEST in self.storage.deleted

    async def later(self, seconds: float) -> None:
        """Let what is needed or claimed be so for less long."""
        async with self.metadata.database.write() as connection:
            await connection.execute(update(needs).values(until=needs.c.until - seconds))

    async def deleting(self) -> asyncio.Task[Report]:
        """A collection here that deletes the layer's bytes, and waits."""

        async def collect() -> Report:
            while (report := await self.collect(DIGEST)).freed == 0:
                pass
            return report

        collecting = asyncio.create_task(collect())
        async with asyncio.timeout(60):
            await self.storage.begun.wait()
        return collecting


@pytest.fixture
async def two(postgres: PostgresServer) -> AsyncIterator[Two]:
    url = await asyncio.to_thread(postgres.ready)
    async with AsyncExitStack() as stack:
        storage, registries, metadata = SlowStorage(), [], []
        for _ in range(2):
            database = Database(url)
            stack.push_async_callback(database.close)
            await database.listen()
            metadata.append(WatchedHistory(database))
            registries.append(partial(Registry, storage, metadata[-1], Policy(GRACE), shared=database.alone))
        yield Two(registries[0](), registries[1](), storage, metadata[1], registries[1])


async def test_what_nobody_needs_goes_in_the_end(two: Two) -> None:
    await two.push()
    await eventually(two.gone)


async def test_what_a_client_was_told_of_by_another_server_stays(two: Two) -> None:
    await two.push()
    await two.push(OTHER)

    async def only_the_other_went() -> bool:
        assert (await two.there.blobs.stat("one", DIGEST)).size == len(LAYER)
        return await two.other_gone()

    await eventually(only_the_other_went)
    document = image_manifest((DIGEST, len(LAYER)))
    await two.there.manifests.put("one", "v1", document["mediaType"], _json(document), actor=SERVER)
    assert await two.there.blobs.stat("one", DIGEST)


async def test_bytes_that_another_server_is_about_to_link_stay(two: Two) -> None:
    """The bytes are there, and nobody's, while the other server looks at them and reuses them."""
    await two.push()
    await two.push(OTHER)
    await two.metadata.unlink_blob("one", DIGEST)
    two.storage.going_on.clear()
    pushing = asyncio.create_task(two.push())
    await two.storage.begun.wait()
    await eventually(two.other_gone)
    two.storage.going_on.set()
    await two.collect()
    assert DIGEST not in two.storage.deleted
    await pushing
    assert (await two.there.blobs.stat("one", DIGEST)).size == len(LAYER)


async def test_a_push_of_what_is_being_deleted_elsewhere_waits_and_stores_it_anew(two: Two) -> None:
    await two.push()
    await two.metadata.unlink_blob("one", DIGEST)
    two.storage.going_on.clear()

    collecting = await two.deleting()
    pushing = asyncio.create_task(two.push())
    await two.metadata.kept_waiting.wait()
    assert not pushing.done()
    assert two.storage.deleted == []
    two.storage.going_on.set()
    await asyncio.gather(pushing, collecting)
    assert two.storage.deleted == [DIGEST]
    assert (await two.there.blobs.stat("one", DIGEST)).size == len(LAYER)


async def test_the_claim_of_a_collector_that_is_gone_ends_by_itself(two: Two) -> None:
    await two.push()
    await two.metadata.unlink_blob("one", DIGEST)

    await two.later(3600)
    assert await two.metadata.claim_blobs([DIGEST], datetime.now(UTC), 600) == {DIGEST}
    assert await two.metadata.need("one", [DIGEST], 600) == {DIGEST}
    assert await two.metadata.claim_blobs([DIGEST], datetime.now(UTC), 600) == set()

    await two.later(600)
    assert await two.metadata.need("one", [DIGEST], 600) == set()
    assert await two.metadata.claim_blobs([DIGEST], datetime.now(UTC), 600) == set()


async def test_only_one_server_collects_at_a_time(two: Two) -> None:
    await two.push()
    await two.metadata.unlink_blob("one", DIGEST)
    two.storage.going_on.clear()

    collecting = await two.deleting()
    with pytest.raises(Conflict, match="Another server"):
        await two.there.collector.run()
    two.storage.going_on.set()
    await collecting


class CountingMetadata(MemoryMetadata):
    """Counts how often a push says what it needs."""

    asked = 0

    async def need(self, repository: str, digests: Collection[str], seconds: float) -> set[str]:
        self.asked += 1
        return await super().need(repository, digests, seconds)


class DeafMetadata(CountingMetadata):
    """A database that is away from the second question on."""

    async def need(self, repository: str, digests: Collection[str], seconds: float) -> set[str]:
        found = await super().need(repository, digests, seconds)
        if self.asked > 1:
            raise StorageError("The database does not answer.")
        return found


async def test_a_push_that_cannot_say_any_more_what_it_needs_is_given_up() -> None:
    told = Needs(DeafMetadata(), 0.2)
    with pytest.raises(StorageError, match="did not answer"):
        async with told.using("one", [DIGEST]):
            await asyncio.Event().wait()


async def test_a_push_that_takes_long_goes_on_saying_what_it_needs() -> None:
    metadata = CountingMetadata()

    async def said_again() -> bool:
        return metadata.asked > 4

    async with Needs(metadata, 0.6).using("one", [DIGEST]):
        await eventually(said_again)


def _json(document: dict[str, object]) -> bytes:
    return json.dumps(document).encode()
