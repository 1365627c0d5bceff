"""flock(2) on open files, which other processes respect. It has no way to wait that could be cancelled: ask again."""

from __future__ import annotations

import fcntl


def flocked(descriptor: int, kind: int) -> bool:
    """Take a lock (`fcntl.LOCK_EX`, `LOCK_SH`) until the file is closed; whether nobody else has it. Raises OSError."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
