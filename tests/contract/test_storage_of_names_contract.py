"""What every storage keeps beside its blobs: the names of what lies there, from which a lost database is rebuilt."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from lumper.errors import StorageError
from lumper.model.images.image import Name
from lumper.registry.port import Storage
from parts.registries.live_registry import digest_of


async def names(storage: Storage) -> list[Name]:
    return [name async for page in storage.names() for name, _ in page]


async def test_a_name_is_said_until_it_is_erased(storage: Storage) -> None:
    digest = digest_of(b"x")
    assert await storage.noted("owner/app", "v1") is None
    assert await names(storage) == []

    await storage.note(Name("owner/app", "v1", digest_of(b"before")))
    await storage.note(Name("owner/app", "v1", digest))
    await storage.note(Name("owner/app", digest, "application/x"))

    assert await storage.noted("owner/app", "v1") == digest
    assert await storage.noted("owner/app", digest) == "application/x"
    assert await storage.noted("owner", "v1") is None

    await storage.erase("owner/app", "v1")
    await storage.erase("owner/app", "v1")
    assert await storage.noted("owner/app", "v1") is None
    assert await names(storage) == [Name("owner/app", digest, "application/x")]


async def test_names_are_listed_with_their_time_a_repositorys_manifests_before_its_tags(storage: Storage) -> None:
    sha512 = f"sha512:{'0f' * 64}"
    began = datetime.now(UTC)
    said = {
        Name(repository, reference, says)
        for repository in ("a", "a-b", "a/0", "a/b", "a/b/c", "b")
        for reference, says in ((digest_of(b"x"), "type"), (sha512, ""), ("Latest", digest_of(b"x")), ("_1.2-x", "y"))
    }
    for name in said:
        await storage.note(name)

    listed = [(name, at) async for page in storage.names() for name, at in page]

    assert len(listed) == len(said)
    assert {name for name, _ in listed} == said
    assert all(began - timedelta(seconds=2) <= at <= datetime.now(UTC) + timedelta(seconds=2) for _, at in listed)
    for repository in {name.repository for name in said}:
        kinds = [name.is_tag for name, _ in listed if name.repository == repository]
        assert kinds == sorted(kinds)


async def test_many_names_are_listed_in_pages(storage: Storage) -> None:
    tags = [f"v{n}" for n in range(1050)]
    for start in range(0, len(tags), 50):
        await asyncio.gather(*(storage.note(Name("a", tag, digest_of(b"x"))) for tag in tags[start : start + 50]))

    pages = [page async for page in storage.names()]

    assert max(len(page) for page in pages) <= 1000
    assert sorted(name.reference for page in pages for name, _ in page) == sorted(tags)


@pytest.mark.parametrize(
    "name", [("../x", "v1"), ("a", "../v1"), ("a", ".v1"), ("A", "v1"), ("a", "sha256:../x"), ("a", "")]
)
async def test_what_names_nothing_is_refused(storage: Storage, name: tuple[str, str]) -> None:
    with pytest.raises(StorageError):
        await storage.note(Name(*name, "x"))
    with pytest.raises(StorageError):
        await storage.noted(*name)
    with pytest.raises(StorageError):
        await storage.erase(*name)
