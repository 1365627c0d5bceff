"""Memory for parts on their way to S3, which all uploads share: it does not grow with their number."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Buffers:
    """At most `count` buffers of `size` bytes, made when they are needed and given back when none is in use.

    They are used again and again: what threads allocate anew stays with them, in pieces that fit nobody else. But one
    is used again only where all went well: after a failure or a cancellation somebody may still fill or send it.
    """

    def __init__(self, count: int, size: int) -> None:
        self._size = size
        self._room = asyncio.Semaphore(count)
        self._free: list[bytearray] = []
        self._taken = 0

    async def acquire(self) -> bytearray:
        """A buffer to be released or dropped, with anything in it; waits until one is free."""
        await self._room.acquire()
        self._taken += 1
        return self._free.pop() if self._free else bytearray(self._size)

    def release(self, buffer: bytearray) -> None:
        """Nobody has to do with it any more."""
        self._free.append(buffer)
        self.drop()

    def drop(self) -> None:
        """Have another buffer in place of one that was acquired."""
        self._taken -= 1
        if not self._taken:
            self._free.clear()
        self._room.release()

    @asynccontextmanager
    async def taken(self) -> AsyncIterator[bytearray]:
        """A buffer until the end of the block."""
        buffer = await self.acquire()
        try:
            yield buffer
        except BaseException:
            self.drop()
            raise
        self.release(buffer)
