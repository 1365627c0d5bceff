"""The bytes of an upload that S3 has not got yet, in a file without a name: many uploads need little memory."""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING

from lumper.system.full_disk import storage_error

if TYPE_CHECKING:
    from hashlib import _Hash

_IN_MEMORY = 64 << 10  # bytes; small blobs need no file
_CHUNK = 256 << 10


class Tail:
    """Bytes that are added at the end, and then read as often as needed.

    `add`, `read`, `hash_into` and `close` use a file, and all but the last raise StorageError. The file is in `folder`,
    or where the system keeps such files, and gone with the tail.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._file = SpooledTemporaryFile(_IN_MEMORY, dir=None if folder is None else str(folder))  # noqa: SIM115 - lives as long as the tail
        self.close = weakref.finalize(self, _let_go, self._file)
        self._size = 0
        self._sha256 = hashlib.sha256()

    def __len__(self) -> int:
        return self._size

    def another(self) -> Tail:
        """An empty one in the same place."""
        return Tail(self._folder)

    def add(self, pieces: Iterable[bytes | memoryview]) -> None:
        """All of it. After an error the tail is good for nothing."""
        with _translated():
            self._file.seek(self._size)
            for piece in pieces:
                self._size += self._file.write(piece)
                self._sha256.update(piece)
            self._file.flush()

    def read(self, start: int, size: int) -> bytes:
        """So many bytes from there on, or as many as there are."""
        with _translated():
            self._file.seek(start)
            return self._file.read(size)

    def sha256(self) -> str:
        """The hash of all bytes, in hex."""
        return self._sha256.hexdigest()

    def hash_into(self, hashed: _Hash) -> None:
        """Hash all bytes with another one."""
        for start in range(0, self._size, _CHUNK):
            hashed.update(self.read(start, _CHUNK))


class Headed:
    """A tail with a few bytes in front of it, to be sent as one."""

    def __init__(self, head: bytes, tail: Tail) -> None:
        self._head = head
        self._tail = tail

    def __len__(self) -> int:
        return len(self._head) + len(self._tail)

    def read(self, start: int, size: int) -> bytes:
        """So many bytes from there on, or as many as there are. Raises StorageError."""
        began = self._head[start : start + size]
        return began + self._tail.read(max(0, start - len(self._head)), size - len(began))

    def sha256(self) -> str:
        """The hash of all bytes, in hex. Reads all of the tail's file; raises StorageError."""
        hashed = hashlib.sha256(self._head)
        self._tail.hash_into(hashed)
        return hashed.hexdigest()


def _let_go(file: SpooledTemporaryFile[bytes]) -> None:
    with suppress(OSError):  # it tries once more to write what it could not
        file.close()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        words = f"What is on its way to S3 cannot be kept in a file here: {exc.strerror}."
        hint = "The data folder's disk needs 8 MiB for each upload, and 64 MiB besides."
        raise storage_error(exc, words, hint=hint) from exc
