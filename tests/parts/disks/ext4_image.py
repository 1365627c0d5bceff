"""An ext4 file system in a file, to see what of it would be there after a power cut."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from parts.suite.needs import lacking

_SIZE = 16 << 20


@contextmanager
def ext4(image: Path, place: Path, *options: str) -> Iterator[Path]:
    """Make a file system in the new file `image`, and mount it at the new folder `place`. It takes root."""
    with image.open("xb") as file:
        file.truncate(_SIZE)
    subprocess.run(["mkfs.ext4", "-q", *options, str(image)], check=True, capture_output=True)
    with _mounted(image, place):
        yield place


@contextmanager
def after_power_cut(image: Path, place: Path) -> Iterator[Path]:
    """Mount what a mounted image's disk has been given until now, not what is still to be written to it."""
    copy = place.with_suffix(".image")
    shutil.copyfile(image, copy)
    subprocess.run(["e2fsck", "-f", "-y", str(copy)], check=False, capture_output=True)  # 1: it was not unmounted
    with _mounted(copy, place):
        yield place


@contextmanager
def _mounted(image: Path, place: Path) -> Iterator[None]:
    place.mkdir()
    mounted = subprocess.run(["mount", "-o", "loop", str(image), str(place)], capture_output=True, check=False)
    if mounted.returncode and os.geteuid() != 0:
        lacking("mounting a file system takes root")
    assert mounted.returncode == 0, mounted.stderr
    try:
        yield
    finally:
        subprocess.run(["umount", str(place)], check=True)
