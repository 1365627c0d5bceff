"""sync_file_range(2), which Python has not: the disk begins to write while more is still to come."""

from __future__ import annotations

import ctypes

_WRITE = 2  # SYNC_FILE_RANGE_WRITE


def _found() -> ctypes._NamedFuncPointer | None:
    try:
        call = ctypes.CDLL(None).sync_file_range
    except (OSError, AttributeError):  # not Linux
        return None
    call.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]
    return call


_call = _found()


def start_write_back(descriptor: int, offset: int, size: int) -> None:
    """Let the kernel begin to write these bytes of the file to the disk, so that a later sync has less to wait for.

    It promises nothing, and so no failure counts.
    """
    if _call is not None:
        _call(descriptor, offset, size, _WRITE)
