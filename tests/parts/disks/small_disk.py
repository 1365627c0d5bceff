"""A small file system of its own, for tests that fill it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from parts.suite.needs import lacking
from parts.suite.waiting import wait_for


@contextmanager
def small_disk(place: Path, size: str) -> Iterator[Path]:
    """Mount a file system of `size` ("8m") at `place`, which is made. It takes root."""
    place.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs", str(place)]
    mounted = subprocess.run(command, capture_output=True, check=False)
    if mounted.returncode and os.geteuid() != 0:
        lacking("mounting a small file system takes root")
    assert mounted.returncode == 0, mounted.stderr
    try:
        yield place
    finally:
        try:
            wait_for(lambda: _unmounted(place), f"end of all that uses {place}")
        except TimeoutError:  # a test that failed may hold a file of it: no other one is to find it there
            subprocess.run(["umount", "--lazy", str(place)], check=True)
            raise


def _unmounted(place: Path) -> bool:
    return subprocess.run(["umount", str(place)], capture_output=True, check=False).returncode == 0


@contextmanager
def filled(disk: Path) -> Iterator[None]:
    """Have a file take all that is left on `disk`."""
    filler = disk / "filler"
    try:
        with suppress(OSError), filler.open("wb", 0) as file:
            while True:
                file.write(bytes(4096))
        yield
    finally:
        filler.unlink()
