"""Large request bodies, read in threads straight from the connection: no byte of them passes through the event loop.

The loop stays free for other requests, and receiving, hashing and writing go on without Python's global lock. Of a body
that comes alone, bytes are received while those before are hashed and written. aiohttp does not see any of them, so the
connection is closed after the answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import mmap
import os
import select
import socket
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from itertools import cycle

from aiohttp import web

from lumper.errors import RegistryError
from lumper.registry.errors import refuse
from lumper.system.memory_budget import MemoryBudget
from lumper.web.oci.bytes.body import IDLE_SECONDS, incoming, say_continue

_LARGE = 4 << 20  # bytes of a body; with less, a new connection for the next request is not worth it
_ROOM = 1 << 20  # bytes handed over at a time
_TURN = 32 << 20  # bytes, then another upload may have the thread
_RECEIVED = 2 << 20  # bytes of all bodies that come through the event loop, read at a time
_RECEIVED_LEAST, _RECEIVED_MOST = 4 << 10, 256 << 10  # bytes of one
_THREADS = 4
_NICE = 5
_PATIENCE_MS = 20  # how long a thread waits for a byte before it leaves the waiting to the event loop

Sink = Callable[[memoryview], None]

_TAKEN = web.RequestKey("taken", bool)


def must_close(request: web.Request) -> bool:
    """Whether no other request can come on this connection: the body was not read, or aiohttp has not seen it."""
    return not request.content.is_eof() or request.get(_TAKEN, False)


class LargeBodies:
    """Hands out the bodies of requests."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_THREADS, "large-bodies", initializer=give_way)
        self._beside = ThreadPoolExecutor(1, "large-bodies-sink", initializer=give_way)
        self._turns = 0
        self.received = MemoryBudget(_RECEIVED, _RECEIVED_LEAST, _RECEIVED_MOST)

    def body(self, request: web.Request) -> AsyncIterator[bytes]:
        """The body, as `incoming` gives it. A large one is `Pourable`, too, where no TLS is in between."""
        transport, length = request.transport, request.content_length
        if transport is None or length is None or length < _LARGE or "Transfer-Encoding" in request.headers:
            return incoming(request, self.received)
        if transport.get_extra_info("sslcontext") is not None or transport.get_extra_info("socket") is None:
            return incoming(request, self.received)
        return _Body(self, request, transport, length)

    async def turn(self, stream: _Stream) -> bool:
        """Let a thread read; whether there may be more to read at once. When cancelled, the thread ends first."""
        self._turns += 1
        read = self._read_alone if self._turns == 1 else self._read
        reading = asyncio.get_running_loop().run_in_executor(self._threads, read, stream)
        try:
            return await asyncio.shield(reading)
        except asyncio.CancelledError:
            stream.stopped = True
            while not reading.done():
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.wait([reading])
            reading.exception()
            raise
        finally:
            self._turns -= 1

    def _read(self, stream: _Stream) -> bool:
        return stream.read([_room()])

    def _read_alone(self, stream: _Stream) -> bool:
        """One stream at a time, since the next one whose turn begins is not alone."""
        return stream.read([_room(), _room()], self._beside)


def _room() -> memoryview:
    """Memory that goes back to the system as soon as nobody has it, and of which only what is filled is taken."""
    return memoryview(mmap.mmap(-1, _ROOM))


class _Body:
    """A body that is either iterated over or poured."""

    def __init__(self, bodies: LargeBodies, request: web.Request, transport: asyncio.Transport, length: int) -> None:
        self._bodies = bodies
        self._request = request
        self._transport = transport
        self._length = length
        self._pieces = incoming(request, bodies.received)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        return await anext(self._pieces)

    async def pour(self, sink: Sink) -> None:
        """Hand all bytes to `sink`, in one thread at a time; a view holds only as long as the call.

        Raises RegistryError BLOB_UPLOAD_INVALID if the body stops, and what `sink` raises.
        """
        await say_continue(self._request)
        began = self._seen_by_aiohttp()
        self._transport.pause_reading()
        self._request[_TAKEN] = True
        self._request.protocol.close()  # after this request
        connection = self._transport.get_extra_info("socket")
        with socket.socket(fileno=os.dup(connection.fileno())) as mine:
            stream = _Stream(mine, began, self._length - sum(map(len, began)), sink)
            try:
                while stream.left or stream.began:
                    if not await self._bodies.turn(stream):
                        await _readable(mine)
            finally:
                if not stream.left and not stream.began:
                    self._request.content.feed_eof()
                self._transport.resume_reading()  # aiohttp reads what nobody wants, and sees the client go

    def _seen_by_aiohttp(self) -> list[bytes]:
        """The bytes that came along with the headers, or shortly after."""
        began: list[bytes] = []
        while piece := self._request.content.read_nowait():
            began.append(piece)
        return began


class _Stream:
    """What one thread at a time does. `mine` is non-blocking, `left` is what has not been received of the body."""

    def __init__(self, mine: socket.socket, began: list[bytes], left: int, sink: Sink) -> None:
        self.began = began
        self.left = left
        self.stopped = False
        self._socket = mine
        self._sink = sink
        self._poll = select.poll()
        self._poll.register(mine, select.POLLIN)

    def read(self, rooms: Sequence[memoryview], beside: Executor | None = None) -> bool:
        """Read for one turn; False if no byte comes at the moment. With `beside` there are two rooms."""
        for piece in self.began:
            self._sink(memoryview(piece))
        self.began = []
        end = max(0, self.left - _TURN)
        handing = _Handing(self._sink, beside)
        try:
            for room in cycle(rooms):
                if self.left <= end or self.stopped:
                    break
                size = self._fill(room[: min(len(room), self.left)])
                if not size:
                    return False
                self.left -= size
                handing.give(room[:size])
        finally:
            handing.end()
        return True

    def _fill(self, room: memoryview) -> int:
        """Receive until `room` is full, or nothing more comes for a moment."""
        filled = 0
        while filled < len(room):
            try:
                size = self._socket.recv_into(room[filled:])
            except BlockingIOError:
                if self._poll.poll(_PATIENCE_MS):
                    continue
                return filled
            except OSError as exc:
                raise _broken() from exc
            if not size:
                raise _broken()
            filled += size
        return filled


class _Handing:
    """Gives views to a sink, one after the other; `beside` another thread, so that meanwhile the next one is filled."""

    def __init__(self, sink: Sink, beside: Executor | None) -> None:
        self._sink = sink
        self._beside = beside
        self._given: Future[None] | None = None

    def give(self, view: memoryview) -> None:
        """Returns once all before is done with. Raises what the sink raised."""
        self.end()
        if self._beside is None:
            self._sink(view)
        else:
            self._given = self._beside.submit(self._sink, view)

    def end(self) -> None:
        """Returns once the sink has let go of all. Raises what the sink raised."""
        given, self._given = self._given, None
        if given is not None:
            given.result()


def give_way() -> None:
    """Where there is not processor enough for all, a large blob waits rather than the many small requests."""
    with contextlib.suppress(OSError, AttributeError):  # Linux has priorities of threads
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)


def _broken() -> RegistryError:
    return refuse("BLOB_UPLOAD_INVALID", "The body ended before its end.")


async def _readable(connection: socket.socket) -> None:
    """Wait for a byte. Raises RegistryError BLOB_UPLOAD_INVALID if none comes."""
    loop = asyncio.get_running_loop()
    there = asyncio.Event()
    loop.add_reader(connection, there.set)
    try:
        async with asyncio.timeout(IDLE_SECONDS):
            await there.wait()
    except TimeoutError as exc:
        raise refuse("BLOB_UPLOAD_INVALID", f"No byte came for {IDLE_SECONDS:.0f} s.") from exc
    finally:
        loop.remove_reader(connection)
