"""The bytes of an upload that S3 has not got yet, in a file without a name: many uploads need little memory."""

from __future__ import annotations

import errno
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING

from lumper.errors import StorageError, StorageFull

if TYPE_CHECKING:
    from hashlib import _Hash

_IN_MEMORY = 64 << 10  # bytes; small blobs need no file
_CHUNK = 256 << 10
_FULL = {errno.ENOSPC, errno.EDQUOT}


class Tail:
    """Bytes that are added at the end, and taken all at once.

    Every method but `len` and `clear` reads or writes a file, and raises StorageError. The file is in `folder`, or
    where the system keeps such files, and gone with the tail.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._file = SpooledTemporaryFile(_IN_MEMORY, dir=None if folder is None else str(folder))  # noqa: SIM115 - lives as long as the tail
        weakref.finalize(self, self._file.close)
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def add(self, pieces: Iterable[bytes | memoryview]) -> None:
        """All of it, or nothing."""
        with _translated():
            self._file.seek(self._size)
            size = self._size + sum(self._file.write(piece) for piece in pieces)
            self._file.flush()
        self._size = size

    def read_into(self, buffer: memoryview) -> int:
        """All of it to the beginning of a buffer that has the room; its size."""
        with _translated():
            self._file.seek(0)
            at = 0
            while at < self._size and (chunk := self._file.read(min(self._size - at, _CHUNK))):
                buffer[at : at + len(chunk)] = chunk
                at += len(chunk)
        return at

    def hash_into(self, hashed: _Hash, start: int = 0) -> None:
        """Hash what comes from `start` on."""
        with _translated():
            self._file.seek(start)
            left = self._size - start
            while left > 0 and (chunk := self._file.read(min(left, _CHUNK))):
                hashed.update(chunk)
                left -= len(chunk)

    def clear(self) -> None:
        """Be empty; the file's room is used again."""
        self._size = 0


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        kind = StorageFull if exc.errno in _FULL else StorageError
        words = f"What is on its way to S3 cannot be kept in a file here: {exc.strerror}."
        raise kind(words, hint="The data folder's disk needs 8 MiB for each upload.") from exc
