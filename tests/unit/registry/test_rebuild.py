"""The metadata made anew from the storage, whatever lies in it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from lumper.model.images.activity import SERVER
from lumper.model.images.image import Name
from lumper.registry import rebuild as rebuild_module
from lumper.registry.gc.collector import Policy
from lumper.registry.manifests import MAX_BYTES
from lumper.registry.metadata.memory import MemoryMetadata
from lumper.registry.rebuild import Rebuilt, Trouble
from lumper.registry.reference import Reference
from lumper.registry.registry import Registry
from lumper.registry.storage.memory import MemoryStorage
from lumper.registry.verify import Defect
from parts.registries.live_registry import OCI_INDEX, OCI_MANIFEST, digest_of, image_index, image_manifest

CONFIG = b"{}"


async def _pieces(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def blob(registry: Registry, repository: str, content: bytes) -> tuple[str, int]:
    session = await registry.blobs.begin(repository, "me")
    await registry.blobs.finish(session, digest_of(content), 0, _pieces(content))
    return digest_of(content), len(content)


async def put(
    registry: Registry, repository: str, reference: str, document: dict[str, Any], media_type: str = OCI_MANIFEST
) -> tuple[str, int]:
    body = json.dumps(document).encode()
    done = await registry.manifests.put(repository, reference, media_type, body, actor=SERVER)
    return done.digest, done.size


async def filled(storage: MemoryStorage) -> Registry:
    """Images, an index of them, an index of that one, and a signature, in two repositories."""
    registry = Registry(storage, MemoryMetadata())
    for repository in ("team/app", "other"):
        config = await blob(registry, repository, CONFIG)
        children = [
            await put(
                registry, repository, f"arch{n}", image_manifest(config, await blob(registry, repository, b"%d" % n))
            )
            for n in range(3)
        ]
        index = await put(registry, repository, "1.0", image_index(*children), OCI_INDEX)
        await put(registry, repository, "all", image_index(index), OCI_INDEX)
        subject = {"mediaType": OCI_INDEX, "digest": index[0], "size": index[1]}
        await put(registry, repository, "sig", image_manifest(config, subject=subject, artifactType="a/signature"))
    return registry


async def rebuild(registry: Registry, **options: bool) -> tuple[list[tuple[str, str, str]], Rebuilt]:
    found = [one async for one in registry.rebuilder.run(**options)]
    last = found[-1]
    assert isinstance(last, Rebuilt)
    return [(one.repository, one.name, one.why) for one in found if isinstance(one, Trouble)], last


async def everything(registry: Registry, storage: MemoryStorage) -> dict[str, Any]:
    """What anybody can learn of the registry by its API, but for the times."""
    metadata: Any = registry.verifier._metadata
    found: dict[str, Any] = {"images": [(one.name, one.tags, one.size) for one in await metadata.images()]}
    for repository in await metadata.repositories():
        for name in await metadata.names(repository):
            found[f"{repository}@{name.reference}"] = name.says
            if not name.is_tag:
                manifest = await metadata.manifest(repository, name.reference)
                found[f"{repository}#{name.reference}"] = (manifest.total, manifest.size)
                found[f"{repository}^{name.reference}"] = await metadata.referrers(repository, name.reference)
        async for blob_page in _blobs(storage):
            found[f"{repository}="] = [one for one in blob_page if await metadata.has_blob(repository, one)]
    return found


async def _blobs(storage: MemoryStorage) -> AsyncIterator[list[str]]:
    yield [digest for digest, _, _ in await storage.blobs()]


async def test_all_comes_back_from_the_storage_alone() -> None:
    storage = MemoryStorage()
    before = await filled(storage)
    anew = Registry(storage, MemoryMetadata())

    troubles, done = await rebuild(anew)

    assert troubles == []
    assert (done.manifests, done.tags) == (12, 12)
    assert await everything(anew, storage) == await everything(before, storage)
    assert [one async for one in anew.verifier.run() if isinstance(one, Defect)] == []


async def test_running_it_again_changes_nothing() -> None:
    storage = MemoryStorage()
    await filled(storage)
    anew = Registry(storage, MemoryMetadata())
    await rebuild(anew)
    before = await everything(anew, storage)

    troubles, done = await rebuild(anew)

    assert (troubles, done.manifests, done.tags) == ([], 0, 0)
    assert await everything(anew, storage) == before


async def test_a_dry_run_tells_the_same_and_does_nothing() -> None:
    storage = MemoryStorage()
    await filled(storage)
    anew = Registry(storage, MemoryMetadata())

    troubles, done = await rebuild(anew, dry_run=True)

    assert troubles == []
    assert (done.dry_run, done.manifests, done.tags) == (True, 12, 12)
    assert await everything(anew, storage) == {"images": []}


async def test_the_database_is_right_where_both_say_something() -> None:
    storage = MemoryStorage()
    registry = await filled(storage)
    tag = await registry.manifests.find("other", "arch1")
    await storage.note(Name("other", "arch0", tag.digest))
    before = await everything(registry, storage)

    _, done = await rebuild(registry)

    assert (done.manifests, done.tags) == (0, 0)
    assert await everything(registry, storage) == before
    await registry.names.tell()
    assert await storage.noted("other", "arch0") == before["other@arch0"]


HUGE = b" " * (MAX_BYTES + 1)


@pytest.mark.parametrize(
    ("body", "says", "why"),
    [
        (b"\xff\xfe not JSON", OCI_MANIFEST, "not JSON"),
        (b"[" * 100_000, OCI_MANIFEST, "not JSON"),
        (b"[]", OCI_MANIFEST, "not an object"),
        (HUGE, OCI_MANIFEST, "bytes, and no manifest has more"),
        (b'{"schemaVersion": 1}', OCI_MANIFEST, "schemaVersion"),
        (json.dumps(image_index()).encode(), "text/html", "mediaType"),
        (json.dumps(image_index()).encode(), OCI_MANIFEST, "mediaType"),
        (b'{"schemaVersion":2,"config":{"digest":"sha256:../../x","size":-1},"layers":[]}', OCI_MANIFEST, "digest"),
    ],
)
async def test_what_is_no_manifest_is_told_and_stops_nothing(body: bytes, says: str, why: str) -> None:
    storage = MemoryStorage()
    before = await filled(storage)
    whole = await everything(before, storage)
    await storage.put(digest_of(body), body)
    await storage.note(Name("other", digest_of(body), says))
    await storage.note(Name("other", "zzz", digest_of(body)))
    anew = Registry(storage, MemoryMetadata())

    troubles, done = await rebuild(anew)

    assert [(repository, name) for repository, name, _ in troubles] == [("other", digest_of(body)), ("other", "zzz")]
    assert why in troubles[0][2]
    assert done.manifests == 12
    assert await everything(anew, storage) == whole


async def test_bytes_with_another_digest_and_bytes_that_are_gone_are_told() -> None:
    storage = MemoryStorage()
    before = await filled(storage)
    gone = (await before.manifests.find("other", "arch0")).digest
    wrong = (await before.manifests.find("other", "sig")).digest
    layer = digest_of(b"2")
    await storage.delete(gone)
    await storage.put(wrong, b"{}")
    await storage.delete(layer)
    anew = Registry(storage, MemoryMetadata())

    troubles, done = await rebuild(anew)

    told = {(repository, name): why for repository, name, why in troubles}
    assert "not in the storage" in told["other", gone]
    assert "have the digest" in told["other", wrong]
    assert "refers to it" in told["other", layer]
    assert ("other", "arch0") in told
    assert done.manifests == 12 - 4
    assert (await anew.manifests.find("other", "arch2")).media_type == OCI_MANIFEST


async def test_names_that_nothing_can_have_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    storage = MemoryStorage()
    await filled(storage)
    for repository, reference, says in [("Team", "x", "y"), ("other", "a b", "y"), ("other", "sha256:1", OCI_MANIFEST)]:
        monkeypatch.setitem(storage._names, (repository, reference), (says, next(iter(storage._names.values()))[1]))
    anew = Registry(storage, MemoryMetadata())

    troubles, done = await rebuild(anew)

    assert sorted(name for _, name, why in troubles if "called so" in why) == ["a b", "sha256:1", "x"]
    assert done.manifests == 12


async def test_garbage_collection_gives_up_nothing_while_the_database_is_lost() -> None:
    storage = MemoryStorage()
    await filled(storage)
    before = await storage.blobs()
    anew = Registry(storage, MemoryMetadata(), Policy(timedelta(0)))

    for _ in range(3):
        await anew.collector.run()

    assert await storage.blobs() == before


async def test_garbage_collection_brings_back_what_only_the_storage_knows() -> None:
    storage = MemoryStorage()
    whole = await everything(await filled(storage), storage)
    anew = Registry(storage, MemoryMetadata(), Policy(timedelta(0)))
    await put(anew, "new", "x", image_index(), OCI_INDEX)

    for _ in range(3):
        await anew.collector.run()

    found = await everything(anew, storage)
    assert {key: value for key, value in found.items() if key != "images" and not key.startswith("new")} == {
        key: value for key, value in whole.items() if key != "images"
    }


async def test_a_push_that_was_killed_before_its_transaction_leaves_no_bytes_that_nobody_can_reach() -> None:
    storage = MemoryStorage()
    registry = Registry(storage, MemoryMetadata(), Policy(timedelta(0)))
    await put(registry, "one", "v1", image_index(), OCI_INDEX)
    body = json.dumps({**image_index(), "annotations": {"n": "1"}}).encode()
    await storage.put(digest_of(body), body)
    await storage.note(Name("one", digest_of(body), OCI_INDEX))
    await storage.note(Name("one", "v1", digest_of(body)))

    for _ in range(3):
        await registry.collector.run()
        await registry.names.tell()

    assert await storage.stat(digest_of(body)) is None
    assert await storage.noted("one", digest_of(body)) is None
    assert await storage.noted("one", "v1") == (await registry.manifests.find("one", "v1")).digest


async def test_of_a_tag_that_moved_after_the_database_was_saved_people_are_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    storage, metadata = MemoryStorage(), MemoryMetadata()
    registry = Registry(storage, metadata, Policy(timedelta(0)))
    old, _ = await put(registry, "one", "v1", image_index(), OCI_INDEX)
    late, _ = await put(registry, "one", "v2", {**image_index(), "annotations": {"n": "1"}}, OCI_INDEX)
    await storage.note(Name("one", "v1", late))

    assert (await rebuild(registry, dry_run=True))[0] == []  # a push may be on its way
    monkeypatch.setattr(rebuild_module, "_ON_ITS_WAY", timedelta(0))
    for dry_run in (True, False):
        ((repository, tag, why),), _ = await rebuild(registry, dry_run=dry_run)
        assert (repository, tag) == ("one", "v1")
        assert f"points at {old}" in why
        assert f"`lumper image retag one:v1 {late}`" in why
    await registry.names.tell()
    assert await storage.noted("one", "v1") == late

    await registry.tags.retag(Reference("one", "v1"), late, SERVER)
    assert (await rebuild(registry))[0] == []


async def test_a_tag_that_moved_before_the_storage_was_told_is_nobody_s_trouble(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    storage = MemoryStorage()
    registry = Registry(storage, MemoryMetadata())
    await put(registry, "one", "v1", image_index(), OCI_INDEX)
    late, _ = await put(registry, "one", "v2", {**image_index(), "annotations": {"n": "1"}}, OCI_INDEX)
    await registry.tags.retag(Reference("one", "v1"), late, SERVER)

    monkeypatch.setattr(rebuild_module, "_ON_ITS_WAY", timedelta(0))
    assert (await rebuild(registry))[0] == []
    await registry.names.tell()
    assert await storage.noted("one", "v1") == late


async def test_verification_tells_where_the_names_of_storage_and_database_differ() -> None:
    storage = MemoryStorage()
    registry = await filled(storage)
    registry = Registry(storage, registry.verifier._metadata, Policy(timedelta(0)))
    other = (await registry.manifests.find("other", "arch1")).digest
    await storage.erase("other", "arch0")
    await storage.note(Name("other", "arch2", other))
    await storage.note(Name("other", "unknown", other))

    async def flaws(*, repair: bool = False) -> list[tuple[str, str, str]]:
        run = registry.verifier.run(repair=repair)
        return sorted([(one.kind.value, one.name, one.why) async for one in run if isinstance(one, Defect)])

    unknown = ("unknown", "unknown", "the storage says what it is, and the database does not know it")
    nothing, another = "the storage does not say what it is", f"the storage says that it is {other!r}"
    assert await flaws() == [unknown, ("unnamed", "arch0", nothing), ("unnamed", "arch2", another)]
    repaired = [("unnamed", "arch0", f"{nothing}, until now"), ("unnamed", "arch2", f"{another}, until now")]
    assert await flaws(repair=True) == [unknown, *repaired]
    assert await flaws() == [unknown]
    await rebuild(registry)
    assert await flaws() == []
