"""What the folder adds to the storage contract: restarts, and the layout on the disk."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import resource
from pathlib import Path

import pytest

from lumper.errors import StorageError, StorageFull
from lumper.model.images.image import Name
from lumper.registry.storage.filesystem import FilesystemStorage
from lumper.registry.storage.reserve import Reserve
from lumper.registry.storage.small_files import SmallFile, store
from lumper.registry.storage.upload_file import hash_of
from parts.registries.pieces import pieces


def sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


async def test_an_upload_goes_on_after_a_restart(tmp_path: Path) -> None:
    before = FilesystemStorage(tmp_path)
    await before.begin("u")
    await before.append("u", 0, pieces(b"before "))

    after = FilesystemStorage(tmp_path)
    assert await after.uploaded("u") == 7
    assert await after.append("u", 7, pieces(b"after")) == 12
    assert await after.commit("u", sha256(b"before after")) is not None


async def test_bytes_that_reached_the_file_before_a_crash_are_counted_and_hashed(tmp_path: Path) -> None:
    await FilesystemStorage(tmp_path).put(sha256(b"x"), b"x")
    (tmp_path / "uploads" / "u").write_bytes(b"unacknowledged")

    storage = FilesystemStorage(tmp_path)

    assert await storage.uploaded("u") == 14
    assert await storage.commit("u", sha256(b"unacknowledged")) is not None


async def test_a_file_that_somebody_wrote_to_meanwhile_does_not_become_a_blob(tmp_path: Path) -> None:
    storage = FilesystemStorage(tmp_path)
    await storage.begin("u")
    await storage.append("u", 0, pieces(b"abc"))
    (tmp_path / "uploads" / "u").write_bytes(b"abcd")

    assert await storage.commit("u", sha256(b"abc")) is None
    assert await storage.stat(sha256(b"abc")) is None


async def test_the_names_of_folders_that_somebody_else_has_made_are_brought_to_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest, synced, fsync = sha256(b"x"), list[Path](), os.fsync
    encoded = digest.partition(":")[2]
    (tmp_path / "blobs" / "sha256" / encoded[:2]).mkdir(parents=True)  # by a thread that goes on, or a killed process

    def seen(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", seen)
    await FilesystemStorage(tmp_path).put(digest, b"x")

    for folder in ("", "blobs", "blobs/sha256", f"blobs/sha256/{encoded[:2]}"):
        assert tmp_path / folder in synced


async def test_what_is_erased_is_so_on_the_disk_also_if_it_seems_to_be_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = FilesystemStorage(tmp_path)
    await storage.note(Name("one", "v1", sha256(b"x")))
    folder, synced = tmp_path / "names" / "one" / "_tags", list[tuple[Path, bool]]()

    def seen(descriptor: int) -> None:
        synced.append((Path(f"/proc/self/fd/{descriptor}").readlink(), (folder / "v1").exists()))
        if len(synced) == 1:
            raise OSError(errno.EIO, "the disk had a bad moment")

    monkeypatch.setattr(os, "fsync", seen)
    with pytest.raises(StorageError):
        await storage.erase("one", "v1")
    await storage.erase("one", "v1")
    await storage.erase("two", "v1")

    assert synced == [(folder, False)] * 2


async def test_the_layout_is_the_one_that_is_drawn(tmp_path: Path) -> None:
    storage = FilesystemStorage(tmp_path)
    digest = sha256(b"x")
    await storage.put(digest, b"x")
    await storage.begin("u-1")
    await storage.append("u-1", 0, pieces(b"y"))
    await storage.begin("u-2")

    encoded = digest.partition(":")[2]
    files = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert files == {f"blobs/sha256/{encoded[:2]}/{encoded}", "uploads/u-1"}


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "a.b", "x" * 129, "é"])
async def test_an_upload_with_another_name_is_refused(tmp_path: Path, name: str) -> None:
    storage = FilesystemStorage(tmp_path)

    for refused in (
        storage.begin(name),
        storage.uploaded(name),
        storage.abort(name),
        storage.commit(name, sha256(b"")),
    ):
        with pytest.raises(StorageError):
            await refused


async def test_the_errors_of_the_disk_are_translated(tmp_path: Path) -> None:
    (tmp_path / "uploads").write_text("a file where a folder should be")
    storage = FilesystemStorage(tmp_path)

    await storage.begin("u")
    with pytest.raises(StorageError, match="refused"):
        await storage.append("u", 0, pieces(b"x"))
    assert await storage.uploaded("u") == 0
    with pytest.raises(StorageError, match="refused"):
        await storage.commit("u", sha256(b"x"), b"x")
    assert await storage.uploaded("u") == 0
    with pytest.raises(StorageError, match="refused"):
        await storage.put(sha256(b"x"), b"x")


async def test_a_full_disk_has_an_error_of_its_own_and_leaves_no_half_chunk(tmp_path: Path) -> None:
    storage = FilesystemStorage(tmp_path)
    await storage.begin("u")
    await storage.append("u", 0, pieces(b"abc"))
    (tmp_path / "uploads" / "u").unlink()
    (tmp_path / "uploads" / "u").symlink_to("/dev/full")

    with pytest.raises(StorageError) as caught:
        await storage.append("u", 3, pieces(b"def"))

    assert isinstance(caught.value, StorageFull)
    assert await storage.uploaded("u") == 3


async def test_pushes_leave_what_is_reserved_and_all_else_goes_on(tmp_path: Path) -> None:
    await FilesystemStorage(tmp_path).put(sha256(b"x"), b"x")
    storage = FilesystemStorage(tmp_path, reserve=1 << 60)
    await storage.begin("u")

    for push in (storage.append("u", 0, pieces(b"y")), storage.put(sha256(b"y"), b"y")):
        with pytest.raises(StorageFull):
            await push

    assert b"".join([piece async for piece in storage.read(sha256(b"x"))]) == b"x"
    await storage.delete(sha256(b"x"))
    assert await storage.stat(sha256(b"x")) is None


async def test_an_upload_without_a_byte_is_not_there_after_a_restart(tmp_path: Path) -> None:
    await FilesystemStorage(tmp_path).begin("u")

    assert await FilesystemStorage(tmp_path).uploaded("u") is None


async def test_of_many_uploads_without_a_byte_most_have_a_file_instead_of_a_place_in_memory(tmp_path: Path) -> None:
    storage = FilesystemStorage(tmp_path)
    names = [f"u-{number}" for number in range(4200)]
    for name in names:
        await storage.begin(name)

    assert len(list((tmp_path / "uploads").iterdir())) == 4200 - 4096
    assert {await storage.uploaded(name) for name in names} == {0}
    assert [name for name, _ in await storage.uploads()] == sorted(names)
    assert await storage.commit(names[-1], sha256(b"x"), b"x") is not None


async def test_of_small_blobs_at_the_same_time_those_fail_that_cannot_be_stored_and_no_others(tmp_path: Path) -> None:
    storage = FilesystemStorage(tmp_path)
    contents = [b"%d" % number for number in range(40)]
    spoilt = contents[7]
    folder = tmp_path / "blobs" / "sha256" / sha256(spoilt)[7:9]
    folder.parent.mkdir(parents=True)
    folder.write_text("a file where a folder should be")
    fails = {one for one in contents if sha256(one)[7:9] == folder.name}

    done = await asyncio.gather(*(storage.put(sha256(one), one) for one in contents), return_exceptions=True)

    assert {one for one, result in zip(contents, done, strict=True) if isinstance(result, StorageError)} == fails
    stored = {path.name for path in folder.parent.glob("*/*")}
    assert stored == {sha256(one)[7:] for one in contents if one not in fails}
    assert not list((tmp_path / "uploads").iterdir())


def test_small_files_for_which_no_descriptor_is_left_have_an_error_each(tmp_path: Path) -> None:
    files = [SmallFile(tmp_path / name, b"x") for name in ("a", "b")]
    next_one = os.open(tmp_path, os.O_RDONLY)
    os.close(next_one)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (next_one, hard))
    try:
        store(files, tmp_path, lambda _: None, Reserve(tmp_path, 0))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    assert [file.error and file.error.errno for file in files] == [errno.EMFILE] * 2


async def test_a_folder_whose_disk_is_gone_is_not_an_empty_one(tmp_path: Path) -> None:
    root = tmp_path / "registry"
    storage = FilesystemStorage(root)
    digest = sha256(b"x")
    await storage.identify("one")
    await storage.put(digest, b"x")
    await storage.note(Name("a/b", "tag", digest))
    root.rename(tmp_path / "elsewhere")
    root.mkdir()

    async def listed() -> None:
        async for _ in storage.names():
            pass

    async def read() -> None:
        async for _ in storage.read(digest):
            pass

    for asked in (
        lambda: storage.stat(digest),
        lambda: storage.stat(sha256(b"y")),
        lambda: storage.blobs(),
        lambda: storage.delete(digest),
        lambda: storage.noted("a/b", "tag"),
        lambda: storage.erase("a/b", "tag"),
        lambda: storage.put(sha256(b"y"), b"y"),
        lambda: storage.review(),
        lambda: storage.set_aside(digest),
        lambda: storage.uploads(),
        lambda: storage.uploaded("u"),
        lambda: storage.append("u", 0, pieces(b"y")),
        lambda: storage.commit("u", digest),
        lambda: storage.identity(),
        listed,
        read,
    ):
        storage._seen.forget(digest)
        with pytest.raises(StorageError, match="are not in"):
            await asked()
    assert list(root.iterdir()) == []
    root.rmdir()
    (tmp_path / "elsewhere").rename(root)
    assert await storage.noted("a/b", "tag") == digest
    assert (await storage.stat(digest)) is not None


@pytest.mark.parametrize("size", [0, 1, 2046, 2047, 2048, 4094, 20_000, 65_536])
@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_a_small_blob_has_the_hash_of_all_its_bytes(size: int, algorithm: str) -> None:
    data = bytes(number % 251 for number in range(size))
    assert hash_of(algorithm, data) == hashlib.new(algorithm, data).hexdigest()
