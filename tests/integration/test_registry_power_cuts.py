"""Small files that are stored at the same time are on the disk afterwards: on ext4, with a journal and without."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from lumper.registry.storage.reserve import Reserve
from lumper.registry.storage.small_files import SmallFile, store
from lumper.registry.storage.whole_disk import whole_disk
from parts.ext4_image import after_power_cut, ext4

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
