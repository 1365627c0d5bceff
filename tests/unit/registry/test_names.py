"""The storage says what the metadata say: at once after a push, soon after every other change."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest

from lumper.errors import LumperError, RegistryError, StorageError, StorageFull
from lumper.model.images.activity import SERVER
from lumper.model.images.image import Name
from lumper.model.images.rules import Rule
from lumper.registry import names as names_module
from lumper.registry.metadata.memory import MemoryMetadata
from lumper.registry.registry import Registry
from lumper.registry.storage.memory import MemoryStorage
from parts.registries.live_registry import OCI_INDEX, digest_of, image_index


class Kept:
    """A registry in memory, and what its storage and its metadata say."""

    def __init__(self, storage: MemoryStorage | None = None) -> None:
        self.storage = storage or MemoryStorage()
        self.metadata = MemoryMetadata()
        self.registry = Registry(self.storage, self.metadata)

    async def push(self, *tags: str, note: str = "") -> str:
        """Push an empty index under the tags; its digest."""
        body = json.dumps({**image_index(), "annotations": {"note": note}}).encode()
        manifests = self.registry.manifests
        return (await manifests.put("one", digest_of(body), OCI_INDEX, body, tags, actor=SERVER)).digest

    async def said(self) -> dict[str, str]:
        return {name.reference: name.says async for page in self.storage.names() for name, _ in page}

    async def known(self) -> dict[str, str]:
        return {name.reference: name.says for name in await self.metadata.names("one")}

    async def tell(self) -> int:
        return await self.registry.names.tell()


async def test_a_push_tells_the_storage_before_it_is_acknowledged() -> None:
    kept = Kept()

    digest = await kept.push("v1", "latest", "_build-1-1")

    assert await kept.said() == {digest: OCI_INDEX, "v1": digest, "latest": digest}
    assert await kept.metadata.renames() == []


async def test_a_moved_tag_is_said_once() -> None:
    kept = Kept()
    before = await kept.push("v1", note="before")
    after = await kept.push("v1", note="after")

    assert await kept.said() == {before: OCI_INDEX, after: OCI_INDEX, "v1": after}


class Weak(MemoryStorage):
    """Once it is `full` it takes a name of the reference `full`, and then nothing for some time."""

    def __init__(self) -> None:
        super().__init__()
        self.full: str | None = None
        self.over = False

    async def note(self, name: Name) -> None:
        if self.over:
            raise StorageFull()
        await super().note(name)
        if self.full is not None and name.reference.startswith(self.full):
            self.over = True
            raise StorageFull()

    async def erase(self, repository: str, reference: str) -> None:
        if self.over:
            raise StorageFull()
        await super().erase(repository, reference)


@pytest.mark.parametrize("refused", ["sha256:", "v"])
async def test_what_a_storage_has_taken_of_a_push_that_it_refuses_is_taken_back(refused: str) -> None:
    kept = Kept(storage := Weak())
    digest = await kept.push("v1")
    storage.full = refused

    with pytest.raises(StorageFull):
        await kept.push("v1", "v2", note="another")
    assert await kept.known() == {digest: OCI_INDEX, "v1": digest} != await kept.said()
    with pytest.raises(StorageFull):
        await kept.tell()
    storage.full, storage.over = None, False

    assert await kept.tell()
    assert await kept.said() == await kept.known()
    assert await kept.tell() == 0


async def test_a_push_that_a_rule_forbids_leaves_no_name() -> None:
    kept = Kept()
    digest = await kept.push("v1")
    await kept.metadata.set_rule(Rule("*", immutable=("v*",)), SERVER)

    with pytest.raises(LumperError):
        await kept.push("v1", note="another")

    assert await kept.said() == {digest: OCI_INDEX, "v1": digest} == await kept.known()


async def test_a_name_whose_erasure_failed_is_erased_again_though_it_seems_to_be_gone() -> None:
    class Forgetful(MemoryStorage):
        """Erases at once, and the first time not on the disk."""

        def __init__(self) -> None:
            super().__init__()
            self.erased: list[str] = []

        async def erase(self, repository: str, reference: str) -> None:
            await super().erase(repository, reference)
            self.erased.append(reference)
            if len(self.erased) == 1:
                raise StorageError()

    kept = Kept(storage := Forgetful())
    body = json.dumps(image_index()).encode()
    with pytest.raises(RegistryError):
        await kept.registry.manifests.put("one", "v1", OCI_INDEX, body, actor=SERVER, expected=digest_of(b"x"))
    assert len(storage.erased) == 1

    await kept.tell()

    assert sorted(storage.erased[1:]) == [digest_of(body), "v1"]
    assert storage.erased[0] in storage.erased[1:]
    assert await kept.said() == {}


async def test_the_storage_hears_of_builds_and_deletions() -> None:
    kept = Kept()
    digest, other = await kept.push("v1", "v2"), await kept.push("x", note="other")
    await kept.metadata.move_tags("one", digest, ["latest"], 1)
    await kept.metadata.delete_tag("one", "v2")
    await kept.metadata.delete_manifest("one", other)

    assert await kept.tell() == 4

    assert await kept.said() == {digest: OCI_INDEX, "v1": digest, "latest": digest} == await kept.known()
    assert await kept.tell() == 0


async def test_a_rename_is_looked_at_again_when_pushes_beside_it_are_over(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Kept()
    digest = await kept.push("v1")
    await kept.metadata.delete_tag("one", "v1")
    await kept.tell()
    await kept.storage.note(Name("one", "v1", digest))  # as another process may have done that was slow
    await kept.tell()
    assert "v1" in await kept.said()
    assert len(await kept.metadata.renames()) == 1

    monkeypatch.setattr(names_module, "_SETTLED", timedelta(0))
    await kept.tell()

    assert await kept.said() == await kept.known()
    assert await kept.metadata.renames() == []


async def test_pushes_of_one_tag_at_once_end_alike_in_storage_and_metadata() -> None:
    class Slow(MemoryStorage):
        """The later a name comes, the sooner its push goes on."""

        waits = 60

        async def note(self, name: Name) -> None:
            await super().note(name)
            self.waits -= 1
            for _ in range(self.waits):
                await asyncio.sleep(0)

    kept = Kept(Slow())

    await asyncio.gather(*(kept.push("latest", "v1", note=str(n)) for n in range(20)))

    assert await kept.said() == await kept.known()
    assert len(await kept.known()) == 22


async def test_a_storage_from_before_there_were_names_is_told_of_all() -> None:
    kept = Kept()
    digest = await kept.push("v1")
    for reference in ("v1", digest):
        await kept.storage.erase("one", reference)

    await kept.registry.names.begin()
    await kept.tell()

    assert await kept.said() == await kept.known()


async def test_a_storage_with_names_is_not_told_of_all_at_every_start() -> None:
    kept = Kept()
    await kept.push("v1")

    await kept.registry.names.begin()

    assert await kept.metadata.renames() == []


async def test_a_database_that_was_lost_is_told_at_the_start(caplog: pytest.LogCaptureFixture) -> None:
    kept = Kept()
    await kept.registry.names.begin()
    await kept.push("v1")
    await kept.registry.names.begin()
    assert not caplog.records

    await Registry(kept.storage, MemoryMetadata()).names.begin()

    assert ["database knows none" in record.getMessage() for record in caplog.records] == [True]


async def test_names_that_differ_are_told_apart_and_mended() -> None:
    kept = Kept()
    digest = await kept.push("v1", "v2")
    await kept.storage.note(Name("one", "v1", digest_of(b"another")))
    await kept.storage.erase("one", digest)

    for mend in (False, True):
        told = {reference: says async for reference, says in kept.registry.names.untold("one", mend=mend)}
        assert told == {"v1": digest_of(b"another"), digest: None}
    assert [one async for one in kept.registry.names.untold("one")] == []
    assert await kept.said() == await kept.known()


async def test_many_changes_are_told_step_by_step() -> None:
    kept = Kept()
    digest = await kept.push(*(f"v{n}" for n in range(1200)))
    for n in range(1200):
        await kept.metadata.delete_tag("one", f"v{n}")

    assert await kept.tell() == 1200

    assert await kept.said() == {digest: OCI_INDEX}
    assert datetime.now(UTC) - (await kept.metadata.renames())[0].at < timedelta(minutes=1)
