"""Bytes on their way into files: a few chunks at once, so that the thread that writes does not wait for the loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from lumper.registry.storage.upload_file import UploadEnd
from lumper.system.memory_budget import MemoryBudget

_CHUNK = 1 << 20  # bytes; hashing and writing go on in a thread, one chunk at a time
_LEAST = 8 << 10  # bytes of a chunk
_CHUNKS = 6  # of a belt: one that is gathered, one that is written, and four between
_PARTS = 512  # buffers of one writev(2), below the kernel's 1024

InThread = Callable[[Callable[[], None]], Awaitable[None]]


def room_for_belts(size: int) -> MemoryBudget:
    """So many bytes for all belts; from some hundred on each has the least: what is gathered, and what is written."""
    return MemoryBudget(size, 2 * _LEAST, _CHUNKS * _CHUNK)


class ChunkQueue:
    """Hands bytes to `end`, in a thread while there are some and in none while there are not.

    What it holds at most is its share of the room.
    """

    def __init__(self, end: UploadEnd, in_thread: InThread, room: MemoryBudget) -> None:
        self._end = end
        self._in_thread = in_thread
        self._room = room
        self._loop = asyncio.get_running_loop()
        self._gathered: list[bytes] = []
        self._size = 0  # of what is gathered
        self._held = 0  # bytes that were handed over and are not written
        self._chunks: deque[list[bytes]] = deque()
        self._taken = asyncio.Event()
        self._writing: asyncio.Future[None] | None = None

    async def put(self, part: bytes) -> None:
        """Take bytes, and wait while too many are there. Raises what writing those before has raised."""
        self._gathered.append(part)
        self._size += len(part)
        chunk = max(_LEAST, self._room.share // _CHUNKS)
        if self._size < chunk and len(self._gathered) < _PARTS:
            return
        self._hand_over()
        await self._start()
        while self._held >= max(chunk, self._room.share - chunk):
            self._taken.clear()
            await self._taken.wait()
            await self._start()  # the thread may have ended just before there was more

    async def _start(self) -> None:
        """Have a thread at work, if there is something to write. Raises what the one before has raised."""
        if self._writing is None or self._writing.done():
            await self._settled()
            if self._chunks:
                self._writing = asyncio.ensure_future(self._in_thread(self._run))
                self._writing.add_done_callback(lambda _: self._taken.set())

    def _hand_over(self) -> None:
        self._held += self._size
        self._chunks.append(self._gathered)
        self._gathered, self._size = [], 0

    async def finish(self) -> None:
        """Write all that is there, also if the caller is cancelled; raises what writing has raised."""
        if self._gathered:
            self._hand_over()
        await self._settled()
        await self._start()
        await self._settled()

    def _run(self) -> None:
        while self._chunks:
            self._loop.call_soon_threadsafe(self._let_go, self._write(self._chunks.popleft()))

    def _write(self, chunk: list[bytes]) -> int:
        self._end.write(chunk)
        return sum(map(len, chunk))

    def _let_go(self, size: int) -> None:
        self._held -= size
        self._taken.set()

    async def _settled(self) -> None:
        """Wait until the thread is done, for it cannot be cancelled and needs the file; raise what it raised."""
        cancelled: asyncio.CancelledError | None = None
        while self._writing is not None and not self._writing.done():
            try:
                await asyncio.shield(self._writing)
            except asyncio.CancelledError as exc:
                cancelled = exc
        if cancelled is not None:
            raise cancelled
        if self._writing is not None:
            self._writing.result()
