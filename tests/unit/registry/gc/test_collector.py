"""The collection of garbage: what it takes, and that it and pushes of the same digest wait for each other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from json import dumps

import pytest

from lumper.errors import RegistryError, StorageError
from lumper.model.images.activity import SERVER
from lumper.model.images.garbage import GarbageKind
from lumper.model.images.image import Name
from lumper.registry.gc import collector as gc
from lumper.registry.gc.collector import Policy
from lumper.registry.holds import Holds
from lumper.registry.metadata.memory import MemoryMetadata
from lumper.registry.port import StoredBlob
from lumper.registry.registry import Registry
from lumper.registry.storage.memory import MemoryStorage
from lumper.system.named_locks import LocalLocks
from parts.registries.live_registry import digest_of, image_index, image_manifest
from parts.registries.loose_blobs import NOW, push
from parts.suite.eventually import eventually


class Gate:
    """Where a task stops until it may pass."""

    def __init__(self) -> None:
        self.reached, self.opened = asyncio.Event(), asyncio.Event()

    async def stop(self) -> None:
        self.reached.set()
        await self.opened.wait()


class GatedStorage(MemoryStorage):
    """A storage that stops before it deletes, and after it has committed."""

    def __init__(self) -> None:
        super().__init__()
        self.deleting: Gate | None = None
        self.committed: Gate | None = None

    async def delete(self, digest: str) -> None:
        if self.deleting is not None:
            await self.deleting.stop()
        await super().delete(digest)

    async def commit(self, upload: str, digest: str, rest: bytes = b"") -> StoredBlob | None:
        blob = await super().commit(upload, digest, rest)
        if self.committed is not None:
            await self.committed.stop()
        return blob


class BrokenStorage(MemoryStorage):
    """A storage that cannot delete one blob."""

    broken = ""

    async def delete(self, digest: str) -> None:
        if digest == self.broken:
            raise StorageError("The disk is read-only.")
        await super().delete(digest)


class BusyMetadata(MemoryMetadata):
    """Metadata that change right after the collector has looked for idle blobs for the first time."""

    linked = ""

    async def idle_blobs(
        self, before: datetime, *, after: str = "", limit: int = 500, since: datetime | None = None
    ) -> list[tuple[str, int]]:
        found = await super().idle_blobs(before, after=after, limit=limit)
        if self.linked:
            await self.link_blob("two", self.linked, 1)
            self.linked = ""
        return found


async def put(registry: Registry, document: dict[str, object], reference: str = "") -> str:
    body = dumps(document).encode()
    media_type = str(document["mediaType"])
    return (await registry.manifests.put("one", reference or digest_of(body), media_type, body, actor=SERVER)).digest


async def push_image(registry: Registry, layer: bytes, reference: str = "") -> str:
    digest = await push(registry, layer)
    return await put(registry, image_manifest((digest, len(layer))), reference)


async def idle(storage: MemoryStorage, data: bytes, policy: Policy = NOW) -> tuple[Registry, str]:
    """A registry with a blob that nobody has, and its digest."""
    registry = Registry(storage, MemoryMetadata(), policy)
    digest = await push(registry, data)
    await registry.blobs.delete("one", digest)
    return registry, digest


async def test_space_is_given_back_in_the_order_in_which_things_hold_each_other() -> None:
    storage = MemoryStorage()
    registry = Registry(storage, MemoryMetadata(), NOW)
    child = await push_image(registry, b"layer")
    await put(registry, image_index((child, 100)), "x")
    assert not any((await registry.collector.run()).counts.values())
    await registry.manifests.delete("one", "x", SERVER)

    kinds = [one.kind.value for _ in range(4) for one in (await registry.collector.run()).garbage]

    assert [kind for kind in kinds if kind != "bytes"] == ["manifest", "manifest", "link"]
    assert kinds.count("bytes") == 3
    assert storage._blobs == {}


async def test_a_dry_run_tells_and_does_nothing() -> None:
    registry = Registry(MemoryStorage(), MemoryMetadata(), NOW)
    digest = await push(registry, b"x")

    report = await registry.collector.run(dry_run=True)

    assert [(one.kind, one.repository, one.name, one.size) for one in report.garbage] == [
        (GarbageKind.LINK, "one", digest, 1)
    ]
    assert "no manifest" in report.garbage[0].why
    assert (report.freed, report.counts[GarbageKind.LINK]) == (0, 1)
    assert (await registry.blobs.stat("one", digest)).size == 1


async def test_freed_bytes_are_counted_when_they_go() -> None:
    registry, digest = await idle(MemoryStorage(), b"12345")

    told = await registry.collector.run(dry_run=True)
    done = await registry.collector.run()

    assert (told.freed, done.freed, done.garbage[0].name) == (5, 5, digest)
    assert not any((await registry.collector.run()).counts.values())


async def test_a_push_of_bytes_that_are_being_deleted_waits_and_stores_them_anew() -> None:
    storage = GatedStorage()
    registry, digest = await idle(storage, b"x")
    storage.deleting = gate = Gate()
    collecting = asyncio.create_task(registry.collector.run())
    await gate.reached.wait()

    pushing = asyncio.create_task(push(registry, b"x"))
    mounting = asyncio.create_task(registry.blobs.mount("two", digest, "one"))
    asking = asyncio.create_task(registry.blobs.stat("one", digest))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not pushing.done()
    assert not mounting.done()
    assert not asking.done()

    gate.opened.set()
    assert (await collecting).freed == 1
    await pushing
    await asyncio.gather(mounting, asking, return_exceptions=True)
    assert (await registry.blobs.stat("one", digest)).size == 1


async def test_bytes_that_are_stored_and_not_yet_linked_are_not_deleted() -> None:
    storage = GatedStorage()
    registry, digest = await idle(storage, b"x")
    storage.committed = gate = Gate()
    pushing = asyncio.create_task(push(registry, b"x"))
    await gate.reached.wait()

    assert (await registry.collector.run()).freed == 0

    gate.opened.set()
    await pushing
    assert (await registry.blobs.stat("one", digest)).size == 1


async def test_what_a_client_was_told_to_be_there_stays_for_the_grace() -> None:
    metadata = MemoryMetadata()
    registry = Registry(MemoryStorage(), metadata, Policy(timedelta(hours=1), untagged=True))
    child = await push_image(registry, b"layer")
    layer = digest_of(b"layer")
    known = metadata._repositories["one"]
    for times in (known.linked_at, known.pushed_at):
        times.update({digest: datetime.now(UTC) - timedelta(hours=2) for digest in times})
    await registry.manifests.find("one", child)

    assert not any((await registry.collector.run()).counts.values())

    assert (await registry.manifests.find("one", child)).digest == child
    assert (await registry.blobs.stat("one", layer)).size == 5


async def test_what_was_asked_for_in_vain_keeps_nothing() -> None:
    registry = Registry(MemoryStorage(), MemoryMetadata(), NOW)
    with pytest.raises(RegistryError):
        await registry.blobs.stat("one", digest_of(b"x"))
    with pytest.raises(RegistryError):
        await registry.manifests.find("one", digest_of(b"x"))
    await push(registry, b"x")

    assert (await registry.collector.run()).counts[GarbageKind.LINK] == 1


async def test_a_blob_that_cannot_be_deleted_before_its_claim_ends_is_left_to_the_next_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    storage, metadata = GatedStorage(), MemoryMetadata()
    registry = Registry(storage, metadata, NOW, shared=LocalLocks())
    await storage.put(digest_of(b"x"), b"x")
    await metadata.adopt_blobs([(digest_of(b"x"), 1, datetime.now(UTC))])
    storage.deleting = Gate()

    monkeypatch.setattr(gc, "_CLAIM_SECONDS", -1.0)  # it has ended before the blob's turn comes
    assert (await registry.collector.run()).freed == 0
    assert not storage.deleting.reached.is_set()

    monkeypatch.setattr(gc, "_CLAIM_SECONDS", 0.02)  # it ends while the storage is at it
    while not storage.deleting.reached.is_set():
        assert (await registry.collector.run()).freed == 0

    monkeypatch.undo()
    storage.deleting = None

    async def deleted() -> bool:
        return (await registry.collector.run()).freed == 1

    await eventually(deleted)


async def test_a_blob_that_cannot_be_deleted_keeps_its_row_and_stops_no_other() -> None:
    storage = BrokenStorage()
    registry, digest = await idle(storage, b"broken")
    other = await push(registry, b"x")
    await registry.blobs.delete("one", other)
    storage.broken = digest

    assert [one.name for one in (await registry.collector.run()).garbage] == [other]

    storage.broken = ""
    assert [one.name for one in (await registry.collector.run()).garbage] == [digest]


async def test_more_than_one_step_goes_in_one_run() -> None:
    registry = Registry(MemoryStorage(), MemoryMetadata(), NOW)
    for n in range(1100):
        await push(registry, b"%d" % n)

    links, bytes_ = (await registry.collector.run()).counts, (await registry.collector.run()).counts

    assert (links[GarbageKind.LINK], bytes_[GarbageKind.BYTES]) == (1100, 1100)


async def test_a_manifest_whose_layer_was_collected_is_refused() -> None:
    registry = Registry(MemoryStorage(), MemoryMetadata(), NOW)
    layer = await push(registry, b"layer")
    await registry.collector.run()

    with pytest.raises(RegistryError, match="does not have"):
        await put(registry, image_manifest((layer, 5)), "x")


async def test_holds_of_many_digests_wait_for_each_claim() -> None:
    holds = Holds()
    with holds.claiming(["a", "b"]) as free, holds.claiming(["b", "c"]) as others:
        assert (free, others) == ({"a", "b"}, {"c"})
        entering = asyncio.create_task(_enter(holds))
        await asyncio.sleep(0)
        assert not entering.done()
    await entering


async def _enter(holds: Holds) -> None:
    async with holds.using("one", ["a", "c"]), holds.using("one", ["a"]):
        with holds.claiming(["a", "b"]) as free:
            assert free == {"b"}
    with holds.claiming(["a"]) as free:
        assert free == {"a"}


async def test_when_too_much_was_asked_for_to_be_remembered_nothing_goes() -> None:
    holds = Holds()
    await holds.asked("one", "a")
    assert holds.lately("one", 60)("a")
    assert not holds.lately("two", 60)("a")
    assert not holds.lately("one", 60)("b")

    for n in range(65_537):
        await holds.asked("one", str(n))

    assert holds.lately("one", 60)("b")
    assert not holds.lately("one", -1)("b")


async def test_bytes_of_a_push_that_was_killed_before_anybody_had_them_are_given_back() -> None:
    storage = MemoryStorage()
    registry = Registry(storage, MemoryMetadata(), NOW)
    await push_image(registry, b"layer", "x")
    await storage.put(digest_of(b"lost"), b"lost")
    assert not any((await registry.collector.run(dry_run=True)).counts.values())

    report = await registry.collector.run()

    assert [one.name for one in report.garbage] == [digest_of(b"lost")]
    assert await storage.stat(digest_of(b"lost")) is None
    assert await storage.stat(digest_of(b"layer")) is not None


async def test_bytes_that_nobody_knows_of_and_are_young_may_be_on_their_way() -> None:
    storage = MemoryStorage()
    registry = Registry(storage, MemoryMetadata())
    await storage.put(digest_of(b"x"), b"x")

    assert not any((await registry.collector.run()).counts.values())

    assert await storage.stat(digest_of(b"x")) is not None


async def test_what_is_known_or_young_costs_no_walk_over_all_that_the_storage_names() -> None:
    class Walked(MemoryStorage):
        """Nobody may ask for all names."""

        def names(self) -> AsyncIterator[list[tuple[Name, datetime]]]:
            raise AssertionError("all names are asked for")

    storage = Walked()
    for policy, known in ((NOW, True), (Policy(), False)):
        registry = Registry(storage, MemoryMetadata(), policy)
        if known:
            await push_image(registry, b"layer", "x")
        await registry.collector.run()


async def test_bytes_that_were_linked_since_they_were_found_idle_are_not_deleted() -> None:
    metadata = BusyMetadata()
    registry = Registry(MemoryStorage(), metadata, NOW)
    metadata.linked = digest = await push(registry, b"x")
    await registry.blobs.delete("one", digest)

    assert (await registry.collector.run()).freed == 0

    assert (await registry.blobs.stat("two", digest)).size == 1


async def test_a_run_that_is_cancelled_holds_what_it_deletes_until_that_is_done() -> None:
    storage = GatedStorage()
    registry, digest = await idle(storage, b"x")
    storage.deleting = gate = Gate()
    collecting = asyncio.create_task(registry.collector.run())
    await gate.reached.wait()
    collecting.cancel()
    await asyncio.wait([collecting])

    pushing = asyncio.create_task(push(registry, b"x"))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not pushing.done()

    gate.opened.set()
    await pushing
    assert (await registry.blobs.stat("one", digest)).size == 1
