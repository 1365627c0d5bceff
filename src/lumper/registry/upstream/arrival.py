"""One blob on its way: written to the storage and to a file that its readers follow while it arrives.

The readers are held back by one byte until the storage has said that the digest is right: nobody ever gets the whole of
a wrong blob. A slow reader holds up nothing, and memory holds one chunk a reader.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from lumper.errors import (
    LumperError,
    RemoteError,
    RemoteInvalid,
    RemoteUnavailable,
    StorageError,
    StorageFull,
)
from lumper.registry.port import StoredBlob
from lumper.registry.upstream.passing import Source
from lumper.system.full_disk import no_space_left

_CHUNK = 64 << 10
_BREAKS = 5  # times that a transfer may break off without a byte in between
_PAUSE = 0.5


class Arrival:
    """The bytes of a blob as they come. `size` is known before the first one, None if the registry does not tell."""

    def __init__(self, folder: Path) -> None:
        """Raises StorageError, StorageFull if there can be no file in `folder`."""
        with _translated(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._file: BinaryIO | None = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 see _release
        self._folder = folder
        self._readers = 1  # the writer is one of those who need the file
        self._came = 0
        self._trouble: LumperError | None = None
        self._news = asyncio.Event()
        self.started = asyncio.Event()
        self.ended = False
        self.size: int | None = None

    async def fetch(self, source: Source) -> AsyncIterator[bytes]:
        """All bytes, one by one after they were shown to the readers; a transfer that breaks off goes on where it was.

        Raises RemoteError.
        """
        breaks, digest = 0, source.digest
        while True:
            came = self._came
            try:
                async with source.registry.blob(source.repository, digest, self._came) as incoming:
                    self._begin(incoming.size, digest)
                    skip = self._came - incoming.start
                    async for chunk in incoming.chunks:
                        fresh, skip = chunk[skip:], max(0, skip - len(chunk))
                        if fresh:
                            await self._show(fresh, digest)
                            yield fresh
                return
            except RemoteError as exc:
                breaks = 0 if self._came > came else breaks + 1
                if not self.started.is_set() or not exc.temporary or breaks > _BREAKS or self.size is None:
                    raise
                await asyncio.sleep(min(_PAUSE, source.registry.patience.longest))

    def _begin(self, size: int | None, digest: str) -> None:
        if self.started.is_set() and size != self.size:
            raise RemoteInvalid(f"The blob {digest} has another size than before.")
        self.size = size
        self.started.set()

    async def _show(self, chunk: bytes, digest: str) -> None:
        if self.size is not None and self._came + len(chunk) > self.size:
            raise RemoteInvalid(f"More bytes came for {digest} than were announced.")
        assert self._file is not None  # noqa: S101 it is closed after the end only
        with _translated(self._folder):
            await asyncio.to_thread(_write_all, self._file, chunk)
        self._came += len(chunk)
        self._tell()

    def end(self, trouble: LumperError | None = None) -> None:
        """The blob is in the storage, or is not going to be."""
        self._trouble = trouble
        self.ended = True
        self.started.set()
        self._tell()
        self._release()

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    def _release(self) -> None:
        self._readers -= 1
        if not self._readers and self._file is not None:
            self._file.close()
            self._file = None

    async def read(self, start: int, end: int) -> AsyncIterator[bytes]:
        """The bytes from `start` up to, without, `end`, as they come. Raises what the transfer has ended with."""
        if self._file is None:
            raise self._trouble or RemoteUnavailable()
        self._readers += 1
        try:
            position = start
            while position < end:
                ready = min(end, await self._ready(position))
                chunk = await asyncio.to_thread(os.pread, self._file.fileno(), min(_CHUNK, ready - position), position)
                position += len(chunk)
                yield chunk
        finally:
            self._release()

    async def _ready(self, position: int) -> int:
        """Wait until there is a byte at `position`; the end of what may be read."""
        while True:
            news = self._news
            if self._trouble is not None:
                raise self._trouble
            ready = self._came if self.ended else self._came - 1
            if ready > position:
                return ready
            await news.wait()

    @property
    def stored(self) -> bool:
        """Whether nothing can be read from it any more, because the storage has the blob."""
        return self._file is None and self._trouble is None


@contextmanager
def _translated(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        if no_space_left(exc):
            raise StorageFull() from exc
        raise StorageError(f"{folder} cannot be written: {exc.strerror}.") from exc


def _write_all(file: BinaryIO, chunk: bytes) -> None:
    """What is not buffered may be written in parts, such as on a disk that is nearly full."""
    left = memoryview(chunk)
    while left:
        left = left[file.write(left) :]


@dataclass(frozen=True)
class ArrivingBlob(StoredBlob):
    """A blob that is not there whole."""

    arrival: Arrival | None = None
    source: Source | None = None
