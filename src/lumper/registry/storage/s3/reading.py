"""Objects that are read, by a few streams for all readers: each of them reads ahead, and holds it, about a megabyte."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import obstore

from lumper.system.memory_budget import MemoryBudget

if TYPE_CHECKING:
    from obstore import BytesStream
    from obstore.store import ObjectStore

_STREAMS = 4  # at the same time
_TURN = 16 << 20  # bytes, then another reader may have the stream's place
_PATIENCE = 1.0  # seconds that a reader may take for a piece and keep its stream
_PIECES = 1 << 20  # bytes that all readers have in hand, about
_PIECE_LEAST, _PIECE_MOST = 16 << 10, 128 << 10  # bytes of one
_READ_AHEAD = 64 << 10  # bytes at least of a stream's own pieces
_GROWS = 8  # times as much is asked for after a piece that was taken in time


class Reading:
    """Reads objects of one bucket. Who stops reading gives its stream's place away, and asks anew where it was."""

    def __init__(self, store: ObjectStore, streams: int = _STREAMS, patience: float = _PATIENCE) -> None:
        """`patience` is in seconds."""
        self._store = store
        self._patience = patience
        self._places = asyncio.Semaphore(streams)
        self._room = MemoryBudget(_PIECES, _PIECE_LEAST, _PIECE_MOST)

    async def read(self, key: str, start: int, end: int) -> AsyncGenerator[bytes, None]:
        """The bytes from `start` up to, without, `end`. Raises obstore's errors."""
        ahead = end - start
        with self._room.taken():
            while start < end:
                stop = min(end, start + ahead)
                await self._places.acquire()
                stream = _Stream(self._places)
                try:
                    await stream.begin(self._store, key, start, stop)
                    while piece := await stream.take(self._room.share):
                        start += len(piece)
                        with stream.waits(self._patience):
                            yield piece
                finally:
                    stream.end()
                if stream.exhausted and start < stop:
                    return  # the object is shorter
                ahead = self._room.share if stream.stalled else ahead * _GROWS


class _Stream:
    """One reader's, until it has come to its end, or the reader has been waited for too long."""

    def __init__(self, places: asyncio.Semaphore) -> None:
        """`places` has one taken for it."""
        self._places = places
        self._stream: BytesStream | None = None
        self._rest = memoryview(b"")
        self._taken = 0
        self._holds = True
        self.exhausted = False
        self.stalled = False  # the reader took too long for a piece

    async def begin(self, store: ObjectStore, key: str, start: int, end: int) -> None:
        """Ask for the bytes from `start` up to, without, `end`."""
        found = await obstore.get_async(store, key, options={"range": (start, end)})
        self._stream = found.stream(min_chunk_size=_READ_AHEAD)

    async def take(self, most: int) -> bytes:
        """The next bytes, so many at most; none at the end, and when it is another reader's turn."""
        if self._taken >= _TURN and self._places.locked():
            self.end()
        if not self._rest and self._stream is not None:
            self._rest = memoryview(await anext(self._stream, b""))
            self.exhausted = not self._rest
        piece = bytes(self._rest[:most])
        self._rest = self._rest[most:]
        self._taken += len(piece)
        return piece

    @contextmanager
    def waits(self, patience: float) -> Iterator[None]:
        """While the reader has a piece in hand; the stream has gone when that takes longer."""
        timer = asyncio.get_running_loop().call_later(patience, self._stall)
        try:
            yield
        finally:
            timer.cancel()

    def _stall(self) -> None:
        self.stalled = True
        self.end()

    def end(self) -> None:
        """Give the place back, once; what was read ahead goes."""
        self._rest, self._stream = memoryview(b""), None
        if self._holds:
            self._holds = False
            self._places.release()
