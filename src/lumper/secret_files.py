"""Files that only their owner may read; and those with a secret that is made once, by whichever process comes first."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


def made_once(file: Path, make: Callable[[], bytes]) -> bytes:
    """What the file holds, which is what `make` returns if there was none. Only its owner may read it.

    It is written aside, synced and linked, so that two processes agree and none reads half of it. Raises OSError.
    """
    if not file.exists():
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as out:
                out.write(make())
                out.flush()
                os.fsync(out.fileno())
            with suppress(FileExistsError):  # another process was quicker
                os.link(draft, file)
        finally:
            draft.unlink()
    return file.read_bytes()


def private(file: Path) -> None:
    """Make an empty file for a database, if there is none. SQLite gives the files beside it the same rights.

    What cannot be made is told by whoever opens it next.
    """
    if not file.exists():
        with suppress(OSError):
            file.touch(mode=0o600)
