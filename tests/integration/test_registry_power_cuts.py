"""What is stored is on the disk afterwards, or is not said to be: on ext4, with a journal and without."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from lumper.errors import StorageError
from lumper.registry.storage.filesystem import FilesystemStorage
from lumper.registry.storage.reserve import Reserve
from lumper.registry.storage.small_files import SmallFile, store
from lumper.registry.storage.whole_disk import whole_disk
from parts.ext4_image import after_power_cut, ext4
from parts.live_registry import digest_of
from parts.small_disk import small_disk

PATIENT = 1 << 60  # bytes: whatever the machine has still to write


@pytest.fixture(params=[(), ("-O", "^has_journal")], ids=["journal", "no journal"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A file system in the file `image` beside it."""
    with ext4(tmp_path / "image", tmp_path / "disk", *request.param) as place:
        yield place


@pytest.mark.parametrize("most_waiting", [-1, PATIENT], ids=["each file", "whole disk"])
def test_small_files_that_are_stored_together_survive_a_power_cut(
    disk: Path, tmp_path: Path, most_waiting: int
) -> None:
    (disk / "uploads").mkdir()
    files = [SmallFile(disk / f"{number % 3}" / f"{number}", os.urandom(20_000)) for number in range(8)]

    store(files, disk / "uploads", lambda folder: folder.mkdir(exist_ok=True), Reserve(disk, 0), most_waiting)

    with after_power_cut(tmp_path / "image", tmp_path / "afterwards") as afterwards:
        for file in files:
            assert file.error is None
            assert (afterwards / file.target.relative_to(disk)).read_bytes() == file.data


def test_a_whole_disk_is_synced_where_that_is_known_to_be_enough(disk: Path) -> None:
    with whole_disk(disk, PATIENT) as whole:
        assert whole is not None
        assert whole.sync()
    assert not whole.sync()  # the folder is closed: each file has to be synced on its own
    for folder, most_waiting in ((Path("/proc"), PATIENT), (disk, -1), (disk / "missing", PATIENT)):
        with whole_disk(folder, most_waiting) as whole:
            assert whole is None


async def _pushed(storage: FilesystemStorage, upload: str, data: bytes) -> None:
    async def whole() -> AsyncIterator[bytes]:
        yield data

    await storage.begin(upload)
    await storage.append(upload, 0, whole())
    await storage.commit(upload, digest_of(data))


async def test_bytes_that_the_disk_has_lost_are_not_taken_for_written_at_the_next_try(tmp_path: Path) -> None:
    """The disk is a file with holes on another one that becomes full: a sync fails, and the next has nothing to do."""
    first, layer = os.urandom(100_000), os.urandom(3 << 20)
    with (
        small_disk(tmp_path / "under", "8m") as under,
        ext4(under / "image", tmp_path / "disk", "-O", "^has_journal") as disk,
    ):
        storage = FilesystemStorage(disk / "registry")
        await _pushed(storage, "first", first)
        os.sync()
        with (under / "ballast").open("wb", 0) as ballast, pytest.raises(OSError, match="No space"):
            while ballast.write(bytes(1 << 16)):
                pass
        with pytest.raises(StorageError):
            await _pushed(storage, "lost", layer)
        (under / "ballast").unlink()

        with pytest.raises(StorageError):
            await storage.commit("lost", digest_of(layer))
        assert await storage.stat(digest_of(layer)) is None
        await _pushed(storage, "again", layer)
        with after_power_cut(under / "image", tmp_path / "afterwards") as afterwards:
            for data in (first, layer):
                found = await storage.stat(digest_of(data))
                assert found is not None and found.path is not None
                assert (afterwards / found.path.relative_to(disk)).read_bytes() == data
        await storage.close()
