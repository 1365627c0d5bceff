"""Files that only their owner may read; and those with a secret that is made once, by whichever process comes first."""

from __future__ import annotations

import base64
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lumper.errors import StorageError
from lumper.system.fsync import sync_folder
from lumper.system.full_disk import storage_error

_KEY = 32  # bytes
_MAKE = "`head -c 32 /dev/urandom | base64` makes a key; every server and every backup needs the same one."


def made_once(file: Path, make: Callable[[], bytes]) -> bytes:
    """What the file holds, which is what `make` returns if there was none. Only its owner may read it.

    It is written aside, synced and linked, so that two processes agree, none reads half of it, and what was locked with
    it can be opened after a power cut. Raises OSError.
    """
    if not file.exists():
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _draft(file, make()) as draft, suppress(FileExistsError):  # another process was quicker
            os.link(draft, file)
        sync_folder(file.parent)
    return file.read_bytes()


def replace(file: Path, content: bytes) -> None:
    """Give the file this content at once, or leave it as it is. Only its owner may read it. Raises OSError."""
    with _draft(file, content) as draft:
        draft.replace(file)
    sync_folder(file.parent)


@contextmanager
def _draft(file: Path, content: bytes) -> Iterator[Path]:
    draft = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        yield draft
    finally:
        draft.unlink(missing_ok=True)


def make_key(file: Path) -> bytes:
    """Read a key of 32 bytes, which the file holds as base64, or make one. Raises StorageFull, StorageError."""
    try:
        content = made_once(file, lambda: base64.b64encode(secrets.token_bytes(_KEY)) + b"\n")
    except OSError as exc:
        raise storage_error(exc, f"The key file {file} cannot be used: {exc}.") from exc
    return _key_in(file, content)


def read_key(file: Path) -> bytes:
    """Read a key that `make_key` or somebody else has made; it must be there. Raises StorageError."""
    try:
        content = file.read_bytes()
    except OSError as exc:
        raise StorageError(f"The key file {file} cannot be used: {exc.strerror}.", hint=_MAKE) from exc
    return _key_in(file, content)


def _key_in(file: Path, content: bytes) -> bytes:
    try:
        key = base64.b64decode(content.strip(), validate=True)
    except ValueError as exc:
        raise StorageError(f"The key file {file} cannot be used: {exc}.", hint=_MAKE) from exc
    if len(key) != _KEY:
        raise StorageError(f"{file} does not hold a key.", hint="Put it back from a backup.")
    return key


def private(file: Path) -> None:
    """Make an empty file for a database, if there is none. SQLite gives the files beside it the same rights.

    What cannot be made is told by whoever opens it next.
    """
    with suppress(OSError):
        file.touch(mode=0o600, exist_ok=False)
