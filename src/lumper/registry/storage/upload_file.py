"""The file of an upload: bytes are added at its end, and hashed as they come."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lumper.registry.storage.reserve import Reserve
from lumper.registry.storage.write_back import start_write_back

if TYPE_CHECKING:
    from hashlib import _Hash

_WRITE_BACK = 8 << 20  # bytes, after which the disk begins to write what is there already
_WITH_LOCK = 2047  # bytes that hashlib hashes without letting go of Python's global lock

_Bytes = bytes | memoryview


@dataclass
class Progress:
    """The hash of an upload's first `size` bytes."""

    size: int
    sha256: _Hash

    def copy(self) -> Progress:
        """The state as it is now."""
        return Progress(self.size, self.sha256.copy())


class UploadEnd:
    """The end of an upload's file, where bytes are added. One thread at a time."""

    def __init__(self, path: Path, progress: Progress, reserve: Reserve) -> None:
        self._reserve = reserve
        self._path = path
        self._progress = progress
        self._descriptor = -1
        self._on_its_way = progress.size

    def write(self, parts: Sequence[_Bytes]) -> None:
        """Write, then hash: after an error the file has the bytes that the hash knows, and no more.

        Raises OSError.
        """
        self._reserve.check(sum(map(len, parts)))
        if self._descriptor < 0:
            self._descriptor = os.open(self._path, os.O_WRONLY)
        try:
            write_all(self._descriptor, parts, self._progress.size)
        except OSError:
            with suppress(OSError):  # the first error is the one to tell; `commit` compares the sizes
                os.ftruncate(self._descriptor, self._progress.size)
            raise
        for part in parts:
            self._progress.sha256.update(part)
            self._progress.size += len(part)
        behind = self._progress.size - self._on_its_way
        if behind >= _WRITE_BACK:
            start_write_back(self._descriptor, self._on_its_way, behind)
            self._on_its_way = self._progress.size

    def cut(self, size: int) -> None:
        """Give back what lies behind this size. Raises OSError."""
        os.truncate(self._path, size)

    def close(self) -> None:
        """Nothing is written any more."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def write_all(descriptor: int, parts: Sequence[_Bytes], offset: int = 0) -> None:
    """Write all of it with as few calls as it takes. Raises OSError."""
    pending = [memoryview(part) for part in parts]
    while pending:
        written = os.pwritev(descriptor, pending, offset)
        offset += written
        while pending and written >= len(pending[0]):
            written -= len(pending.pop(0))
        if written:
            pending[0] = pending[0][written:]


def hashed(path: Path) -> Progress:
    """What an upload's file says, read anew. Raises OSError."""
    with path.open("rb", 0) as file:
        digest = hashlib.file_digest(file, "sha256")
        return Progress(file.tell(), digest)


def hash_of(algorithm: str, data: bytes) -> str:
    """The hash of a few bytes, in hexadecimal digits, without letting go of Python's global lock.

    Where other threads are at work, having it back takes ten times as long as hashing 20 kB. Source: hashlib,
    "hash.update": the lock is released for data larger than 2047 bytes.
    """
    made, view = hashlib.new(algorithm), memoryview(data)
    for at in range(0, len(data), _WITH_LOCK):
        made.update(view[at : at + _WITH_LOCK])
    return made.hexdigest()
