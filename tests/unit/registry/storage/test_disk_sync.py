"""When a whole disk is synced at once, and what of a failure is told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lumper.registry.storage import disk_sync as whole_disk
from lumper.registry.storage.disk_sync import tells_failures
from parts.disks.small_disk import small_disk

TMPFS = 0x01021994  # statfs(2)
PATIENT = 1 << 60  # bytes: whatever the machine has still to write


@pytest.mark.parametrize(
    ("system", "release", "tells"),
    [
        ("Linux", "6.1.0-18-amd64", True),
        ("Linux", "5.10.0", True),
        ("Linux", "5.8-rc1", True),
        ("Linux", "5.7.19", False),
        ("Linux", "4.19.0", False),
        ("Linux", "next", False),
        ("Darwin", "23.5.0", False),
    ],
)
def test_only_a_kernel_that_tells_of_failures_is_believed(system: str, release: str, tells: bool) -> None:
    assert tells_failures(system, release) is tells


def test_the_folder_is_synced_after_all_else_and_a_failure_of_that_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    fails = False

    def fsync(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        if fails:
            raise OSError("lost")

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(whole_disk, "_KINDS", (TMPFS,))
    with small_disk(tmp_path / "disk", "1m") as place, whole_disk.whole_disk(place, PATIENT) as whole:
        assert whole is not None
        assert whole.sync()
        assert synced == [place]
        fails = True
        assert not whole.sync()
