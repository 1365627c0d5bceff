"""Blobs that go out, by sendfile(2): Python never touches their bytes.

Each call copies what a connection takes at once, some megabytes. One large part alone is quickest from the event loop;
several are sent by threads, side by side, and the loop does not stand still.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import select
import socket
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import FileIO
from pathlib import Path

from aiohttp import web

from lumper.errors import StorageError
from lumper.system.memory_budget import MemoryBudget
from lumper.web.oci.bytes.large_bodies import give_way
from lumper.web.oci.bytes.ranges import Span

_TURN = 16 << 20  # bytes, then another download may have the thread
_STEP = 4 << 20  # bytes of one call of the event loop's, which does nothing else meanwhile: half a millisecond
_THREADS = 4
_LARGE = 1 << 20  # bytes of a part
_COPIED = 1 << 20  # bytes of all that go out through TLS, about
_COPIED_LEAST, _COPIED_MOST = 8 << 10, 256 << 10  # bytes of one
_SHORT = "The blob's file is shorter than it was."
_PATIENCE_MS = 20  # how long a thread waits for a client to read before it leaves the waiting to the event loop


Piece = Span | bytes  # a part of a blob, or bytes of the answer itself


class FileSender:
    """Sends parts of files: through connections without TLS by sendfile(2), through others in pieces."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_THREADS, "sendfile", initializer=give_way)
        self._under_way = 0
        self._copied = MemoryBudget(_COPIED, _COPIED_LEAST, _COPIED_MOST)

    async def copy_part(self, request: web.Request, file: FileIO, span: Span) -> None:
        """What sendfile(2) does, through TLS: asyncio's own way takes sixty times as many steps.

        The more there are, the smaller the pieces are that each has in memory. Raises StorageError.
        """
        with self._copied.taken():
            position, outlet = span.start, Outlet(request)
            while position < span.end:
                size = min(self._copied.share, span.end - position)
                piece = await asyncio.to_thread(os.pread, file.fileno(), size, position)
                if not piece:
                    raise StorageError(_SHORT)
                position += len(piece)
                await outlet.write(piece)
                del piece
                await outlet.ready()

    async def send_part(self, transport: asyncio.WriteTransport, file: FileIO, start: int, size: int) -> int:
        """Send a large part of a file; how much of it was there.

        Raises OSError, of which ConnectionError if the client has gone.
        """
        if transport.is_closing():
            raise ConnectionAbortedError
        self._under_way += 1
        try:
            begun = 0
            if transport.get_write_buffer_size():  # that goes first; asyncio knows when it has gone
                begun = await asyncio.get_running_loop().sendfile(transport, file, start, min(size, _LARGE))
            connection = os.dup(transport.get_extra_info("socket").fileno())
            try:
                stream = _Stream(connection, file.fileno(), start + begun, start + size)
                await self._send(stream)
            finally:
                os.close(connection)
        finally:
            self._under_way -= 1
        return stream.position - start

    async def _send(self, stream: _Stream) -> None:
        while not stream.ended:
            if self._under_way == 1:
                await self._from_loop(stream)
            elif not await self._in_thread(stream):
                await _writable(stream.connection)

    async def _from_loop(self, stream: _Stream) -> None:
        """Send until all is sent, or another part is to be sent too."""
        loop = asyncio.get_running_loop()
        done = loop.create_future()

        def step() -> None:
            try:
                stream.step(_STEP)
            except BlockingIOError:
                return
            except OSError as exc:
                if not done.done():
                    done.set_exception(exc)
            if not done.done() and (stream.ended or self._under_way > 1):
                done.set_result(None)

        loop.add_writer(stream.connection, step)
        try:
            await done
        finally:
            loop.remove_writer(stream.connection)

    async def _in_thread(self, stream: _Stream) -> bool:
        """Let a thread send; False if the client does not read. When cancelled, it ends first: it needs the files."""
        sending = asyncio.get_running_loop().run_in_executor(self._threads, stream.send, self._crowded)
        try:
            return await asyncio.shield(sending)
        except asyncio.CancelledError:
            stream.stopped = True
            while not sending.done():
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.wait([sending])
            sending.exception()
            raise

    def _crowded(self) -> bool:
        """Whether there are fewer threads than downloads."""
        return self._under_way > _THREADS


class Outlet:
    """Sends an answer in pieces, each once there is room for it: nobody holds bytes for a client that has stopped."""

    def __init__(self, request: web.Request) -> None:
        self._request = request
        self._room = 0  # bytes that the kernel takes, about

    async def write(self, piece: bytes) -> None:
        """Hand a piece to the connection. Raises ConnectionError."""
        self._room -= len(piece)
        await self._request.writer.write(piece, drain=False)  # type: ignore[call-arg]  # not with the piece in hand

    async def ready(self) -> None:
        """Wait until the kernel has all that was written, and room for more. Raises ConnectionError."""
        await self._request.writer.drain()
        transport = self._request.transport
        connection = transport.get_extra_info("socket") if transport else None
        if self._room > 0 or connection is None or connection.fileno() < 0:
            return
        if not _takes(connection.fileno()):
            mine = os.dup(connection.fileno())  # the event loop may wait for the connection's own
            try:
                await _writable(mine)
            finally:
                os.close(mine)
        if connection.fileno() >= 0:
            self._room = connection.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) // 3


def _takes(connection: int) -> bool:
    """Whether at least a third of what the kernel holds for the client is free. Source: linux/net/core/stream.c."""
    poll = select.poll()
    poll.register(connection, select.POLLOUT)
    return bool(poll.poll(0))


class _Stream:
    """What one thread at a time does. `connection` is non-blocking."""

    def __init__(self, connection: int, file: int, start: int, end: int) -> None:
        self.connection = connection
        self.position = start
        self.ended = start >= end  # or the file has ended
        self.stopped = False
        self._file = file
        self._end = end
        self._poll = select.poll()
        self._poll.register(connection, select.POLLOUT)

    def step(self, most: int) -> None:
        """Send what the connection takes, `most` bytes. Raises OSError, of which BlockingIOError if it takes none."""
        sent = os.sendfile(self.connection, self._file, self.position, min(most, self._end - self.position))
        self.position += sent
        self.ended = not sent or self.position >= self._end

    def send(self, crowded: Callable[[], bool]) -> bool:
        """Send for a turn, or all if it is not `crowded`; False if the client does not read at the moment."""
        turn = self.position + _TURN
        while not self.ended and not self.stopped:
            try:
                self.step(_TURN)
            except BlockingIOError:
                if self._poll.poll(_PATIENCE_MS):
                    continue
                return False
            if self.position >= turn and crowded():
                break
        return True


async def _writable(connection: int) -> None:
    """Wait until the client has read."""
    loop = asyncio.get_running_loop()
    there = asyncio.Event()
    loop.add_writer(connection, there.set)
    try:
        await there.wait()
    finally:
        loop.remove_writer(connection)


async def send_file(
    sender: FileSender, request: web.Request, response: web.StreamResponse, path: Path, pieces: Sequence[Piece]
) -> None:
    """Send parts of a file by sendfile(2), so that Python never touches their bytes, and what stands between them.

    Raises FileNotFoundError before anything is sent, StorageError also in the middle; if the client goes away, that is
    the end of it.
    """
    file = _opened(path)
    try:
        transport = request.transport
        if transport is None:
            return
        with contextlib.suppress(ConnectionError), _whole_segments(transport):
            await response.prepare(request)
            if any(isinstance(piece, Span) and piece.size >= _LARGE for piece in pieces):
                _unpace_loopback(transport)
            for piece in pieces:
                if not isinstance(piece, Span):
                    await response.write(piece)
                elif transport.get_extra_info("sslcontext") is not None:
                    await sender.copy_part(request, file, piece)
                else:
                    await _send_span(sender, transport, file, piece)
            await response.write_eof()
    finally:
        file.close()


async def _send_span(sender: FileSender, transport: asyncio.Transport, file: FileIO, span: Span) -> None:
    if span.size == 0:  # an error to asyncio
        return
    if span.size < _LARGE:
        sent = await asyncio.get_running_loop().sendfile(transport, file, span.start, span.size)
    else:
        transport.pause_reading()  # as asyncio does: a client that sends no more, and says so, still gets all of it
        try:
            sent = await sender.send_part(transport, file, span.start, span.size)
        finally:
            transport.resume_reading()
    if sent != span.size:
        raise StorageError(_SHORT)


def _opened(path: Path) -> FileIO:
    # Not in a thread, which takes a third of a small blob's time: the file was looked for a moment ago, so the kernel
    # has its name in memory.
    try:
        return path.open("rb", 0)
    except FileNotFoundError:
        raise
    except OSError as exc:  # such as no descriptor left, which is so for a moment
        raise StorageError(f"The blob's file cannot be opened: {exc.strerror}.") from exc


@contextlib.contextmanager
def _whole_segments(transport: asyncio.BaseTransport) -> Iterator[None]:
    """Until the end of the block no segment goes out that is not full, unless it has waited for 200 ms.

    Otherwise, since aiohttp sets TCP_NODELAY, the kernel sends the rest of each 64 kB on its own, and wakes the client
    for it. Source: tcp(7), TCP_CORK.
    """
    _cork(transport, 1)
    try:
        yield
    finally:
        _cork(transport, 0)


def _cork(transport: asyncio.BaseTransport, value: int) -> None:
    with contextlib.suppress(OSError, AttributeError):  # Linux has it; the connection may be closed
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, value)


def _unpace_loopback(transport: asyncio.BaseTransport) -> None:
    """On this machine itself, send as fast as it goes: BBR, where it is the default, paces loopback to a quarter."""
    peer, connection = transport.get_extra_info("peername"), transport.get_extra_info("socket")
    with contextlib.suppress(OSError, ValueError, TypeError, IndexError, AttributeError):
        if ipaddress.ip_address(peer[0]).is_loopback:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")
