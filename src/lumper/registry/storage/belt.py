"""Chunks on their way into a file: a few at once, so that the thread that writes them does not wait for the loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from lumper.registry.storage.upload_file import UploadEnd

_MOST = 3  # chunks that wait behind the one that is written

InThread = Callable[[Callable[[], None]], Awaitable[None]]


class Belt:
    """Hands chunks to `end`, in a thread while there are some and in none while there are not."""

    def __init__(self, end: UploadEnd, in_thread: InThread) -> None:
        self._end = end
        self._in_thread = in_thread
        self._loop = asyncio.get_running_loop()
        self._chunks: deque[list[bytes]] = deque()
        self._taken = asyncio.Event()
        self._writing: asyncio.Future[None] | None = None

    async def put(self, chunk: list[bytes]) -> None:
        """Take a chunk, and wait while too many are there. Raises what writing one of those before has raised."""
        self._chunks.append(chunk)
        if self._writing is None or self._writing.done():
            await self._settled()
            self._writing = asyncio.ensure_future(self._in_thread(self._run))
        while len(self._chunks) > _MOST and not self._writing.done():
            self._taken.clear()
            if len(self._chunks) > _MOST:
                await self._taken.wait()

    async def finish(self, rest: list[bytes]) -> None:
        """Write what is there and `rest`, also if the caller is cancelled; raises what writing has raised."""
        if rest:
            self._chunks.append(rest)
        await self._settled()
        if self._chunks:
            self._writing = asyncio.ensure_future(self._in_thread(self._run))
            await self._settled()

    def _run(self) -> None:
        try:
            while self._chunks:
                self._end.write(self._chunks.popleft())
                self._loop.call_soon_threadsafe(self._taken.set)
        finally:
            self._loop.call_soon_threadsafe(self._taken.set)

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
