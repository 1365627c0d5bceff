"""How those who write say that a disk is full: the system, SQLite and PostgreSQL."""

from __future__ import annotations

import errno

from lumper.errors import StorageError, StorageFull

_OF_THE_SYSTEM = (errno.ENOSPC, errno.EDQUOT)
_OF_SQLITE = (
    "SQLITE_FULL",
    "SQLITE_IOERR_SHMSIZE",  # there is no room for the index of the log, which whoever opens the file first has to make
)
_OF_POSTGRESQL = "53100"  # disk_full


def no_space_left(exc: BaseException | None) -> bool:
    """Whether a disk, or what one user may have of it, is full, so that it helps to remove something.

    EFBIG is none of these: what is larger than a file may be does not fit on an empty disk either. SQLite takes EDQUOT
    for any other error of the disk. Sources: errno(3); sqlite.org, "Result and Error Codes", and os_unix.c, unixWrite
    and unixShmMap; PostgreSQL, appendix A.
    """
    return (
        (isinstance(exc, OSError) and exc.errno in _OF_THE_SYSTEM)
        or getattr(exc, "sqlite_errorname", "") in _OF_SQLITE
        or getattr(exc, "sqlstate", "") == _OF_POSTGRESQL
    )


def storage_error(exc: OSError, message: str, *, hint: str = "") -> StorageError:
    """The error for a file that cannot be written: StorageFull if no space is left. `hint` is for both."""
    kind = StorageFull if no_space_left(exc) else StorageError
    return kind(message, hint=hint)
