"""What is stored is on the disk afterwards, or is not said to be: on ext4, with a journal and without."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from lumper.errors import StorageError
from lumper.registry.storage.disk_sync import whole_disk
from lumper.registry.storage.filesystem import FilesystemStorage
from lumper.registry.storage.reserve import Reserve
from lumper.registry.storage.small_files import SmallFile, store
from parts.disks.ext4_image import after_power_cut, ext4
from parts.disks.power_trial import DISKS
from parts.disks.recorded_disk import Recording, in_memory, mounted, recorded, repaired
from parts.disks.small_disk import small_disk
from parts.registries.live_registry import digest_of

pytestmark = pytest.mark.system

PATIENT = 1 << 60  # bytes: whatever the machine has still to write


@pytest.fixture(params=["ext4", "ext4-no-journal"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Recording]:
    """A file system in memory, mounted at `disk`."""
    with in_memory() as folder, recorded(folder, DISKS[request.param], 16 << 20, tmp_path / "disk") as recording:
        yield recording


@pytest.mark.parametrize("most_waiting", [-1, PATIENT], ids=["each file", "whole disk"])
def test_small_files_that_are_stored_together_survive_a_power_cut(
    disk: Recording, tmp_path: Path, most_waiting: int
) -> None:
    """Whatever was not flushed out of the disk's own cache is lost with it."""
    root, image = tmp_path / "disk", tmp_path / "image"
    (root / "uploads").mkdir()
    files = [SmallFile(root / f"{number % 3}" / f"{number}", os.urandom(20_000)) for number in range(8)]
    before = disk.now

    store(files, root / "uploads", lambda folder: folder.mkdir(exist_ok=True), Reserve(root, 0), most_waiting)

    after = disk.now
    disk.after_power_failure(image, before)
    with mounted(repaired(image), tmp_path / "before") as before_that:
        assert not [*before_that.glob("*/*/")]
    disk.after_power_failure(image, after)
    with mounted(repaired(image), tmp_path / "afterwards") as afterwards:
        for file in files:
            assert file.error is None
            assert (afterwards / file.target.relative_to(root)).read_bytes() == file.data


def test_a_whole_disk_is_synced_where_that_is_known_to_be_enough(disk: Recording, tmp_path: Path) -> None:
    root = tmp_path / "disk"
    with whole_disk(root, PATIENT) as whole:
        assert whole is not None
        assert whole.sync()
    assert not whole.sync()  # the folder is closed: each file has to be synced on its own
    for folder, most_waiting in ((Path("/proc"), PATIENT), (root, -1), (root / "missing", PATIENT)):
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
