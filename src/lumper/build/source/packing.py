"""Gzip in several threads, for a stream of any length in flat memory.

Blocks of fixed size are compressed apart from each other and joined to one member: RFC 1952; each block ends at a byte
(RFC 1951, 3.2.4), as a flush leaves it. So the same bytes in always give the same bytes out, by the same library.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import struct
import threading
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from isal import isal_zlib

T = TypeVar("T")

BLOCK = 1 << 20
"""Bytes that are compressed together. Another number gives other bytes."""

_LEVEL = 2  # fifteen times as fast as zlib at its level 6, as engines have it; up to a fifth larger
_HEADER = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"  # no time, no name
_END = b"\x03\0"  # an empty last block
_NICE = 5


class Pool:
    """Threads that compress, as many as there are processors. They give way to whatever answers requests."""

    def __init__(self) -> None:
        self.size = os.cpu_count() or 1
        self._threads: ThreadPoolExecutor | None = None

    def run(self, work: Callable[..., T], *arguments: object) -> asyncio.Future[T]:
        """Do it in a thread."""
        if self._threads is None:
            self._threads = ThreadPoolExecutor(self.size + 1, "pack", _give_way)
        return asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)

    def close(self) -> None:
        """End the threads, once what they do is done; new ones begin with the next work."""
        threads, self._threads = self._threads, None
        if threads is not None:
            threads.shutdown(wait=False)


class Packing:
    """One stream that is compressed. Once it has ended, `plain` and `digest` are those of what went in and came out."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._crc = 0
        self._in = hashlib.sha256()
        self._out = hashlib.sha256()
        self.plain_size = 0
        self.size = 0

    @property
    def plain(self) -> str:
        return f"sha256:{self._in.hexdigest()}"

    @property
    def digest(self) -> str:
        return f"sha256:{self._out.hexdigest()}"

    async def pack(self, blocks: Iterator[bytes]) -> AsyncGenerator[bytes]:
        """The compressed stream; `blocks` have BLOCK bytes each, the last one fewer. Reading them may raise.

        However it ends, no thread reads from `blocks` any more.
        """
        reading, parts = self._pool.run(self._read, blocks), deque[asyncio.Future[bytes]]()
        try:
            yield self._noted(_HEADER)
            while block := await _whole(reading):
                parts.append(self._pool.run(deflated, block))
                reading = self._pool.run(self._read, blocks)
                if len(parts) > self._pool.size:
                    yield await self._out_of(parts.popleft())
            while parts:
                yield await self._out_of(parts.popleft())
            yield self._noted(_END + struct.pack("<LL", self._crc, self.plain_size & 0xFFFFFFFF))
        finally:
            await asyncio.wait([reading, *parts])

    def _read(self, blocks: Iterator[bytes]) -> bytes:
        block = next(blocks, b"")
        self._in.update(block)
        self._crc = isal_zlib.crc32(block, self._crc)
        self.plain_size += len(block)
        return block

    async def _out_of(self, part: asyncio.Future[bytes]) -> bytes:
        compressed = await _whole(part)
        return await _whole(self._pool.run(self._noted, compressed))

    def _noted(self, part: bytes) -> bytes:
        self._out.update(part)
        self.size += len(part)
        return part


def deflated(block: bytes) -> bytes:
    """One block, compressed for itself."""
    work = isal_zlib.compressobj(_LEVEL, isal_zlib.DEFLATED, -isal_zlib.MAX_WBITS)
    return work.compress(block) + work.flush(isal_zlib.Z_SYNC_FLUSH)


def _whole(future: asyncio.Future[T]) -> Awaitable[T]:
    """Cancelling who waits does not make it seem that the thread has ended."""
    return asyncio.shield(future)


def _give_way() -> None:
    with contextlib.suppress(OSError, AttributeError):  # Linux has priorities of threads
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
