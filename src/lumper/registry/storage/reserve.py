"""What pushes leave of a disk: on a full one nothing can be deleted either, because the database writes first."""

from __future__ import annotations

import errno
import os
from pathlib import Path


class Reserve:
    """Some bytes of the disk on which `folder` lies, or will lie; 0 for none."""

    def __init__(self, folder: Path, size: int) -> None:
        self._folder = folder
        self._size = size

    def check(self, wanted: int) -> None:
        """Raise OSError ENOSPC if so many bytes more would take of it."""
        if self._size and self._free() < self._size + wanted:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _free(self) -> int:
        try:
            disk = os.statvfs(self._folder)
        except FileNotFoundError:
            disk = os.statvfs(self._folder.parent)
        return disk.f_bavail * disk.f_frsize
