"""What is done to a folder's files, in which order, and what becomes of it if a step fails."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterable
from contextlib import nullcontext, suppress
from pathlib import Path

import pytest

from lumper.errors import StorageError, StorageFull
from lumper.registry import paths
from lumper.registry.storage import small_files
from lumper.registry.storage.disk_sync import DiskSync, _Calls
from lumper.registry.storage.filesystem import FilesystemStorage
from lumper.registry.storage.reserve import Reserve
from lumper.registry.storage.small_files import SmallFile, store
from lumper.system.fsync import sync_folder
from parts.registries.pieces import pieces

DATA = bytes(range(250))
DIGEST = f"sha256:{hashlib.sha256(DATA).hexdigest()}"


def open_files() -> list[str]:
    """What this process has open."""
    found: list[str] = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # this very iteration, or another thread
            found.append(str(descriptor.readlink()))
    return found


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Path]]:
    """Every sync, with the name that the file has by then, and every new name."""
    done: list[tuple[str, Path]] = []
    fsync, fdatasync, replace = os.fsync, os.fdatasync, os.replace

    def synced(descriptor: int) -> None:
        done.append(("sync", Path(f"/proc/self/fd/{descriptor}").readlink()))
        (fsync if done[-1][1].is_dir() else fdatasync)(descriptor)

    def renamed(source: str | Path, target: str | Path) -> None:
        done.append(("name", Path(target)))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "fdatasync", synced)
    monkeypatch.setattr(os, "replace", renamed)
    return done


async def test_an_upload_is_on_the_disk_before_it_has_its_name_and_then_the_name(
    tmp_path: Path, steps: list[tuple[str, Path]]
) -> None:
    storage, blob = FilesystemStorage(tmp_path), paths.blob(tmp_path, DIGEST)
    await storage.begin("u")
    await storage.append("u", 0, pieces(DATA))

    assert await storage.commit("u", DIGEST) is not None

    assert steps[-3:] == [("sync", paths.upload(tmp_path, "u")), ("name", blob), ("sync", blob.parent)]


async def test_what_is_set_aside_and_what_comes_back_has_its_name_on_the_disk(
    tmp_path: Path, steps: list[tuple[str, Path]]
) -> None:
    storage = FilesystemStorage(tmp_path)
    blob, aside = paths.blob(tmp_path, DIGEST), paths.set_aside(tmp_path, DIGEST)
    await storage.put(DIGEST, b"wrong")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "somebody-s").write_bytes(b"none of ours")

    assert "5 bytes" in await storage.set_aside(DIGEST)
    assert steps[-3:] == [("name", aside), ("sync", aside.parent), ("sync", blob.parent)]

    assert await storage.review() == [DIGEST]
    aside.write_bytes(DATA)  # it was the controller that had read it wrong
    assert await storage.review() == []
    assert steps[-2:] == [("name", blob), ("sync", blob.parent)]
    assert blob.read_bytes() == DATA


async def test_a_blob_that_cannot_be_read_is_set_aside(tmp_path: Path) -> None:
    storage, blob = FilesystemStorage(tmp_path), paths.blob(tmp_path, DIGEST)
    blob.mkdir(parents=True)

    assert "cannot be read" in await storage.set_aside(DIGEST)
    assert await storage.stat(DIGEST) is None


def test_where_syncing_the_whole_disk_fails_each_file_and_folder_is_asked(
    tmp_path: Path, steps: list[tuple[str, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(small_files, "whole_disk", lambda *_: nullcontext(DiskSync(_Calls(), -1)))
    files = [SmallFile(tmp_path / name, b"x") for name in ("a", "b")]

    store(files, tmp_path, lambda _: None, Reserve(tmp_path, 0))

    assert [kind for kind, _ in steps] == ["sync", "sync", "name", "name", "sync"]
    assert [path for _, path in steps[2:]] == [tmp_path / "a", tmp_path / "b", tmp_path]
    assert [file.error for file in files] == [None, None]


def test_of_small_files_those_have_an_error_whose_own_step_has_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost, sound, way = tmp_path / "lost", tmp_path / "sound", tmp_path / "way"
    for folder in (lost, way, sound / "a folder"):
        folder.mkdir(parents=True)

    def failing(folder: Path) -> None:
        if folder == lost:
            raise OSError(errno.EIO, "lost")
        sync_folder(folder)

    monkeypatch.setattr("lumper.registry.storage.small_files.sync_folder", failing)
    files = [SmallFile(target, b"x") for target in (lost / "x", sound / "a folder", sound / "x")]

    store(files, way, lambda _: None, Reserve(tmp_path, 0), -1)

    assert [file.error and file.error.errno for file in files] == [errno.EIO, errno.EISDIR, None]
    assert (sound / "x").read_bytes() == b"x"
    assert list(way.iterdir()) == []
    assert [name for name in open_files() if name.startswith(f"{tmp_path}/")] == []


@pytest.mark.parametrize(("number", "error"), [(errno.EIO, StorageError), (errno.ENOSPC, StorageFull)])
async def test_after_a_write_that_failed_in_the_middle_the_upload_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, error: type[StorageError]
) -> None:
    storage, pwritev = FilesystemStorage(tmp_path), os.pwritev
    await storage.begin("u")
    await storage.append("u", 0, pieces(DATA[:100]))

    def half(descriptor: int, buffers: Iterable[memoryview], offset: int) -> int:
        pwritev(descriptor, [buffer[: len(buffer) // 2] for buffer in buffers], offset)
        raise OSError(number, "broken")

    with monkeypatch.context() as patch, pytest.raises(error):
        patch.setattr(os, "pwritev", half)
        await storage.append("u", 100, pieces(DATA[100:]))

    assert [name for name in open_files() if name.startswith(f"{tmp_path}/")] == []
    assert await storage.uploaded("u") == 100
    assert (tmp_path / "uploads" / "u").stat().st_size == 100
    assert await storage.append("u", 100, pieces(DATA[100:])) == 250
    assert await storage.commit("u", DIGEST) is not None


async def test_what_the_disk_takes_in_bits_is_written_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage, pwritev = FilesystemStorage(tmp_path), os.pwritev

    def few(descriptor: int, buffers: Iterable[memoryview], offset: int) -> int:
        return pwritev(descriptor, [b"".join(buffers)[:7]], offset)

    monkeypatch.setattr(os, "pwritev", few)
    await storage.begin("u")
    await storage.append("u", 0, pieces(DATA[:3], b"", DATA[3:20], DATA[20:]))

    assert await storage.commit("u", DIGEST) is not None
    assert paths.blob(tmp_path, DIGEST).read_bytes() == DATA


def test_what_is_wanted_counts_with_what_is_reserved_also_before_the_folder_is_there(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "later"):
        Reserve(folder, 1).check(0)
        Reserve(folder, 0).check(1 << 60)
        with pytest.raises(OSError, match="space"):
            Reserve(folder, 1).check(1 << 60)
