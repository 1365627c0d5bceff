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
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

from aiohttp import web

from lumper.errors import StorageError
from lumper.web.oci.intake import give_way
from lumper.web.oci.ranges import Span

_TURN = 16 << 20  # bytes, then another download may have the thread
_THREADS = 4
_LARGE = 1 << 20  # bytes of a part
_SHORT = "The blob's file is shorter than it was."
_PATIENCE_MS = 20  # how long a thread waits for a client to read before it leaves the waiting to the event loop


Piece = Span | bytes  # a part of a blob, or bytes of the answer itself


class Outlet:
    """Sends parts of files through connections without TLS."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_THREADS, "outlet", initializer=give_way)
        self._under_way = 0

    async def send_part(self, transport: asyncio.WriteTransport, file: BinaryIO, start: int, size: int) -> int:
        """Send a large part of a file; how much of it was there.

        Raises OSError, of which ConnectionError if the client has gone.
        """
        position, end = start, start + size
        self._under_way += 1
        try:
            while position < end:
                sent = await self._turn(transport, file, position, end - position)
                if not sent:
                    break
                position += sent
        finally:
            self._under_way -= 1
        return position - start

    async def _turn(self, transport: asyncio.WriteTransport, file: BinaryIO, start: int, size: int) -> int:
        if self._under_way == 1 or transport.get_write_buffer_size():
            return await asyncio.get_running_loop().sendfile(transport, file, start, size)
        end = start + min(_TURN, size)
        stream = _Stream(os.dup(transport.get_extra_info("socket").fileno()), file.fileno(), start, end)
        try:
            while not await self._in_thread(stream):
                await stream.writable()
        finally:
            os.close(stream.connection)
        return stream.position - start

    async def _in_thread(self, stream: _Stream) -> bool:
        """Let a thread send; whether that was all. When cancelled, the thread ends first: it needs the descriptors."""
        sending = asyncio.get_running_loop().run_in_executor(self._threads, stream.send)
        try:
            return await asyncio.shield(sending)
        except asyncio.CancelledError:
            stream.stopped = True
            while not sending.done():
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.wait([sending])
            sending.exception()
            raise


class _Stream:
    """What one thread at a time does. `connection` is non-blocking."""

    def __init__(self, connection: int, file: int, start: int, end: int) -> None:
        self.connection = connection
        self.position = start
        self.stopped = False
        self._file = file
        self._end = end
        self._poll = select.poll()
        self._poll.register(connection, select.POLLOUT)

    def send(self) -> bool:
        """Send; True at the end of the part, or of the file, False if the client does not read at the moment."""
        while self.position < self._end and not self.stopped:
            try:
                sent = os.sendfile(self.connection, self._file, self.position, self._end - self.position)
            except BlockingIOError:
                if self._poll.poll(_PATIENCE_MS):
                    continue
                return False
            if not sent:
                return True
            self.position += sent
        return True

    async def writable(self) -> None:
        """Wait until the client has read."""
        loop = asyncio.get_running_loop()
        there = asyncio.Event()
        loop.add_writer(self.connection, there.set)
        try:
            await there.wait()
        finally:
            loop.remove_writer(self.connection)


async def send_file(
    outlet: Outlet, request: web.Request, response: web.StreamResponse, path: Path, pieces: Sequence[Piece]
) -> None:
    """Send parts of a file by sendfile(2), so that Python never touches their bytes, and what stands between them.

    Raises FileNotFoundError before anything is sent, StorageError in the middle; if the client goes away, that is the
    end of it.
    """
    file = await asyncio.to_thread(_opened, path)
    try:
        with contextlib.suppress(ConnectionError):
            await response.prepare(request)
            transport = request.transport
            if transport is None:
                return
            if any(isinstance(piece, Span) and piece.size >= _LARGE for piece in pieces):
                _unpace_loopback(transport)
            for piece in pieces:
                if not isinstance(piece, Span):
                    await response.write(piece)
                elif transport.get_extra_info("sslcontext") is not None:
                    await _copy_span(response, file, piece)
                else:
                    await _send_span(outlet, transport, file, piece)
            await response.write_eof()
    finally:
        file.close()


async def _send_span(outlet: Outlet, transport: asyncio.Transport, file: BinaryIO, span: Span) -> None:
    if span.size == 0:  # an error to asyncio
        return
    if span.size < _LARGE:
        sent = await asyncio.get_running_loop().sendfile(transport, file, span.start, span.size)
    else:
        transport.pause_reading()  # as asyncio does: a client that sends no more, and says so, still gets all of it
        try:
            sent = await outlet.send_part(transport, file, span.start, span.size)
        finally:
            transport.resume_reading()
    if sent != span.size:
        raise StorageError(_SHORT)


async def _copy_span(response: web.StreamResponse, file: BinaryIO, span: Span) -> None:
    """What sendfile(2) does, through TLS: asyncio's own way takes sixty times as many steps."""
    await asyncio.to_thread(file.seek, span.start)
    left = span.size
    while left:
        chunk = await asyncio.to_thread(file.read, min(_LARGE, left))
        if not chunk:
            raise StorageError(_SHORT)
        left -= len(chunk)
        await response.write(chunk)


def _opened(path: Path) -> BinaryIO:
    return path.open("rb")


def _unpace_loopback(transport: asyncio.BaseTransport) -> None:
    """On this machine itself, send as fast as it goes: BBR, where it is the default, paces loopback to a quarter."""
    peer, connection = transport.get_extra_info("peername"), transport.get_extra_info("socket")
    with contextlib.suppress(OSError, ValueError, TypeError, IndexError, AttributeError):
        if ipaddress.ip_address(peer[0]).is_loopback:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")
