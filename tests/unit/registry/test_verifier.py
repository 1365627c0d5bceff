"""What verification finds in a storage that was tampered with, and that it finds nothing else."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from lumper.errors import RegistryError
from lumper.model.images.activity import SERVER
from lumper.registry.gc.collector import Policy
from lumper.registry.holds import Holds
from lumper.registry.metadata.memory import MemoryMetadata
from lumper.registry.registry import Registry
from lumper.registry.storage.memory import MemoryStorage
from lumper.registry.verify import Defect, Progress, Verifier
from parts.registries.live_registry import OCI_MANIFEST, digest_of, image_manifest

CONFIG, LAYER = b"{}", b"layer"


async def whole(storage: MemoryStorage, *, grace: timedelta = timedelta(0)) -> tuple[Registry, str]:
    """A registry with one image, and the digest of its manifest."""
    registry = Registry(storage, MemoryMetadata(), Policy(grace))
    return registry, await pushed(registry)


async def pushed(registry: Registry) -> str:
    """Push the image; the digest of its manifest."""
    for content in (CONFIG, LAYER):
        session = await registry.blobs.begin("one", "me")
        await registry.blobs.finish(session, digest_of(content), 0, _pieces(content))
    body = json.dumps(image_manifest((digest_of(CONFIG), 2), (digest_of(LAYER), 5))).encode()
    return (await registry.manifests.put("one", "x", OCI_MANIFEST, body, actor=SERVER)).digest


async def _pieces(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def flaws(registry: Registry) -> list[tuple[str, str, str]]:
    found = [one async for one in registry.verifier.run()]
    assert isinstance(found[-1], Progress)
    return sorted((one.kind.value, one.repository, one.name) for one in found if isinstance(one, Defect))


async def test_a_whole_registry_has_no_flaws_and_all_of_it_was_read() -> None:
    registry, _ = await whole(MemoryStorage())

    found = [one async for one in registry.verifier.run()]

    assert all(isinstance(one, Progress) for one in found)
    last = found[-1]
    assert isinstance(last, Progress)
    assert (last.blobs, last.repositories) == (3, 1)
    assert last.bytes > 7


async def test_an_empty_registry_has_no_flaws() -> None:
    assert await flaws(Registry(MemoryStorage(), MemoryMetadata())) == []


async def test_what_is_lost_is_missing() -> None:
    storage = MemoryStorage()
    registry, manifest = await whole(storage)
    await storage.delete(digest_of(LAYER))
    await storage.delete(manifest)

    assert await flaws(registry) == sorted([("missing", "one", digest_of(LAYER)), ("missing", "", manifest)])


async def test_what_several_repositories_have_is_told_with_their_number() -> None:
    storage = MemoryStorage()
    registry, _ = await whole(storage)
    await registry.blobs.mount("two", digest_of(LAYER), "one")
    await storage.put(digest_of(LAYER), b"Layer")

    found = [one async for one in registry.verifier.run() if isinstance(one, Defect)]
    assert [(one.repository, "also of 1 other" in one.why) for one in found] == [("one", True)]


async def test_bytes_with_another_digest_are_corrupt() -> None:
    storage = MemoryStorage()
    registry, _ = await whole(storage)
    await storage.put(digest_of(LAYER), b"Layer")

    assert await flaws(registry) == [("corrupt", "one", digest_of(LAYER))]


async def test_what_is_corrupt_is_not_there_and_whole_once_it_is_pushed_again() -> None:
    storage = MemoryStorage()
    registry, manifest = await whole(storage)
    await storage.put(digest_of(LAYER), b"Layer")
    await storage.put(manifest, b"x")
    expected = sorted([("corrupt", "one", digest_of(LAYER)), ("corrupt", "", manifest)])

    assert await flaws(registry) == expected
    assert await flaws(registry) == expected

    with pytest.raises(RegistryError, match="no such blob"):
        await registry.blobs.stat("one", digest_of(LAYER))
    with pytest.raises(RegistryError):
        await registry.manifests.find("one", "x")
    await pushed(registry)
    assert await flaws(registry) == []
    assert (await registry.blobs.stat("one", digest_of(LAYER))).size == 5
    found = await registry.manifests.find("one", "x")
    assert digest_of(await registry.manifests.content(found)) == manifest


async def test_a_damaged_manifest_is_not_there_even_if_nobody_has_looked_for_damage() -> None:
    storage = MemoryStorage()
    before, manifest = await whole(storage)
    await storage.put(manifest, b"x")
    registry = Registry(storage, before.metadata)

    with pytest.raises(RegistryError):
        await registry.manifests.find("one", "x")

    await pushed(registry)
    assert (await registry.manifests.find("one", "x")).digest == manifest


async def test_what_is_corrupt_and_wanted_by_nobody_goes() -> None:
    storage = MemoryStorage()
    registry, _ = await whole(storage)
    await storage.put(digest_of(b"lost"), b"Lost")

    assert ("corrupt", "", digest_of(b"lost")) in await flaws(registry)

    assert await flaws(registry) == []
    assert await storage.review() == []


async def test_what_is_stored_just_now_is_not_judged() -> None:
    storage = MemoryStorage()
    registry, _ = await whole(storage)
    await storage.put(digest_of(LAYER), b"Layer")

    holds = Holds()
    verifier = Verifier(storage, registry.metadata, registry.names, timedelta(0), holds, lambda _: None)

    async with holds.using("one", [digest_of(LAYER)]):
        assert [one async for one in verifier.run() if isinstance(one, Defect)] == []

    assert await flaws(registry) == [("corrupt", "one", digest_of(LAYER))]


async def test_what_nobody_knows_of_is_orphaned_unless_it_may_be_on_its_way() -> None:
    storage = MemoryStorage()
    registry, _ = await whole(storage)
    patient = Registry(storage, MemoryMetadata(), Policy(timedelta(hours=1)))
    await storage.put(digest_of(b"lost"), b"lost")

    assert await flaws(registry) == [("orphaned", "", digest_of(b"lost"))]
    assert await flaws(patient) == []


async def test_what_a_manifest_refers_to_and_the_repository_may_not_serve_is_dangling() -> None:
    registry, _ = await whole(MemoryStorage())
    await registry.blobs.delete("one", digest_of(LAYER))

    assert await flaws(registry) == [("dangling", "one", digest_of(LAYER))]


async def test_what_waits_for_the_collector_is_no_flaw() -> None:
    storage = MemoryStorage()
    registry, _ = await whole(storage)
    session = await registry.blobs.begin("one", "me")
    await registry.blobs.finish(session, digest_of(b"x"), 0, _pieces(b"x"))
    await registry.blobs.delete("one", digest_of(b"x"))
    assert await flaws(registry) == []
    await storage.delete(digest_of(b"x"))

    assert await flaws(registry) == []


async def test_more_than_a_page_is_compared() -> None:
    storage, metadata = MemoryStorage(), MemoryMetadata()
    registry = Registry(storage, metadata)
    for n in range(1100):
        content = b"%d" % n
        await metadata.link_blob("one", digest_of(content), len(content))
        if n % 300:
            await storage.put(digest_of(content), content)

    assert await flaws(registry) == sorted(("missing", "one", digest_of(b"%d" % n)) for n in range(0, 1100, 300))
