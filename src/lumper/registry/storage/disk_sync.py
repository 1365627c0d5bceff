"""syncfs(2), which Python has not: a whole file system is synced at once, where that is quicker than file by file."""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

_TRUE_SINCE = (5, 8)  # the Linux whose syncfs tells of a failure to write. Source: syncfs(2), "ERRORS"
_KINDS = (0xEF53, 0x58465342)  # ext4 and XFS: others do not promise as much, or take long. Source: statfs(2)
MOST_WAITING = 32 << 20
"""Bytes of all programs that may wait for the disk: with more of them, each file is synced on its own."""
_STATFS = 64  # words: more than any struct statfs has, whose first one is the kind


class _Calls:
    """What is there of the C library, all of it or nothing."""

    def __init__(self) -> None:
        library = ctypes.CDLL(None)
        self.syncfs, self.fstatfs = library.syncfs, library.fstatfs
        self.syncfs.argtypes = [ctypes.c_int]
        self.fstatfs.argtypes = [ctypes.c_int, ctypes.c_void_p]


@cache
def _known() -> _Calls | None:
    if tells_failures(os.uname().sysname, os.uname().release):
        with suppress(OSError, AttributeError):
            return _Calls()
    return None


def tells_failures(system: str, release: str) -> bool:
    """Whether this kernel's syncfs tells of a failure to write."""
    version = re.match(r"(\d+)\.(\d+)", release)
    return system == "Linux" and version is not None and (int(version[1]), int(version[2])) >= _TRUE_SINCE


class DiskSync:
    """The file system that an open folder is on. It tells of failures since the folder was opened."""

    def __init__(self, calls: _Calls, folder: int) -> None:
        self._calls = calls
        self._folder = folder

    def sync(self) -> bool:
        """Sync all of it; False: something there failed, and each file has to be asked for what.

        At last the folder itself: without a journal ext4 leaves some of what it has written to the disk's own cache,
        and only fsync(2) empties it.
        """
        with suppress(OSError):
            if self._calls.syncfs(self._folder) == 0:
                os.fsync(self._folder)
                return True
        return False


@contextmanager
def whole_disk(folder: Path, most_waiting: int = MOST_WAITING) -> Iterator[DiskSync | None]:
    """The file system with this folder, before anything is written to it; None: sync each file instead."""
    calls = _known()
    opened = None if calls is None else _opened(folder, most_waiting)
    if calls is None or opened is None:
        yield None
        return
    try:
        yield DiskSync(calls, opened) if _kind(calls, opened) in _KINDS else None
    finally:
        os.close(opened)


def _opened(folder: Path, most_waiting: int) -> int | None:
    """The folder; None with more bytes waiting, or if that cannot be told: some services see no more of /proc than
    processes. Source: systemd.exec(5), "ProcSubset=".
    """
    with suppress(OSError):
        if _waiting() <= most_waiting:
            return os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    return None


def _kind(calls: _Calls, opened: int) -> int:
    room = (ctypes.c_long * _STATFS)()
    return int(room[0]) if calls.fstatfs(opened, room) == 0 else 0


def _waiting() -> int:
    """Bytes of all files that are not on the disk yet. Source: proc_meminfo(5), "Dirty", "Writeback"."""
    told = Path("/proc/meminfo").read_bytes()
    return 1024 * sum(int(kilobytes) for kilobytes in re.findall(rb"^(?:Dirty|Writeback): +(\d+)", told, re.MULTILINE))
