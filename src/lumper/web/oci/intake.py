"""Large request bodies, read in threads straight from the connection: no byte of them passes through the event loop.

The event loop stays free for other requests, and receiving, hashing and writing all happen without Python's global
lock. aiohttp does not see these bytes, so the connection is closed after the answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import socket
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor

from aiohttp import web

from lumper.registry.errors import refuse
from lumper.web.oci.body import IDLE_SECONDS, incoming, say_continue

_LARGE = 1 << 20  # bytes of a body; below that a new connection for the next request costs more
_ROOM = 1 << 20  # bytes handed over at a time
_TURN = 32 << 20  # bytes, then another upload may have the thread
_THREADS = 4
_PATIENCE_MS = 20  # how long a thread waits for a byte before it lets the event loop do that

Sink = Callable[[memoryview], None]

_TAKEN = web.RequestKey("taken", bool)


def must_close(request: web.Request) -> bool:
    """Whether the rest of the body was not read, or not by aiohttp: nothing more can be read from this connection."""
    return not request.content.is_eof() or request.get(_TAKEN, False)


class Intake:
    """Hands out the bodies of requests."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_THREADS, "intake")
        self._rooms = threading.local()

    def body(self, request: web.Request) -> AsyncIterator[bytes]:
        """The body, as `incoming` gives it; a large one can be poured too, see `Pourable`."""
        length, transport = request.content_length, request.transport
        if length is None or length < _LARGE or "Transfer-Encoding" in request.headers or transport is None:
            return incoming(request)
        if transport.get_extra_info("sslcontext") is not None or transport.get_extra_info("socket") is None:
            return incoming(request)
        return _Direct(request, transport, length, self._turn)

    async def _turn(self, stream: _Stream) -> bool:
        """Let a thread read; whether there is something more to read at once. Waits for the thread when cancelled."""
        turn = asyncio.get_running_loop().run_in_executor(self._threads, self._read, stream)
        try:
            return await asyncio.shield(turn)
        except asyncio.CancelledError:
            stream.stopped = True
            while not turn.done():
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.wait([turn])
            turn.exception()
            raise

    def _read(self, stream: _Stream) -> bool:
        if not hasattr(self._rooms, "room"):
            self._rooms.room = memoryview(bytearray(_ROOM))
        return stream.read(self._rooms.room)


class _Direct:
    """A body that nobody has begun to read."""

    def __init__(
        self,
        request: web.Request,
        transport: asyncio.Transport,
        length: int,
        turn: Callable[[_Stream], asyncio.Future[bool]] | Callable[..., object],
    ) -> None:
        self._request = request
        self._transport = transport
        self._length = length
        self._turn = turn
        self._pieces = incoming(request)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._pieces
