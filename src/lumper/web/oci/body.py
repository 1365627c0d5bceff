"""Bytes in and out of the registry: request bodies as they come, blobs by sendfile(2)."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import BinaryIO

from aiohttp import ClientPayloadError, web
from aiohttp.http_exceptions import HttpProcessingError

from lumper.errors import StorageError
from lumper.registry.errors import refuse
from lumper.web.oci.ranges import Span

IDLE_SECONDS = 60.0  # without a byte, then the upload is given up; its bytes are kept
_LARGE = 1 << 20
_SHORT = "The blob's file is shorter than it was."

Piece = Span | bytes  # a part of a blob, or bytes of the answer itself


async def expect_later(request: web.Request) -> None:
    """Take the place of aiohttp's answer to `Expect: 100-continue`: the body may come when someone reads it."""


async def say_continue(request: web.Request) -> None:
    """Ask a client that waits for it to send the body."""
    if request.headers.get("Expect", "").lower() == "100-continue" and request.can_read_body:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the answer proper has not begun


async def incoming(request: web.Request) -> AsyncIterator[bytes]:
    """The request's body in the pieces in which it comes.

    Raises RegistryError BLOB_UPLOAD_INVALID if it stops or is not well-formed, ConnectionError if the client is gone.
    """
    await say_continue(request)
    try:
        while True:
            async with asyncio.timeout(IDLE_SECONDS):
                piece = await request.content.readany()
            if not piece:
                return
            yield piece
    except TimeoutError as exc:
        raise refuse("BLOB_UPLOAD_INVALID", f"No byte came for {IDLE_SECONDS:.0f} s.") from exc
    except (ClientPayloadError, HttpProcessingError, web.RequestPayloadError) as exc:
        raise refuse("BLOB_UPLOAD_INVALID", "The body is not well-formed.") from exc


async def incoming_small(request: web.Request) -> bytes:
    """The request's body, which is known to be small. Raises what `incoming` raises."""
    return b"".join([piece async for piece in incoming(request)]) if request.can_read_body else b""


async def incoming_whole(request: web.Request, most: int) -> bytes:
    """The request's body, at most `most` bytes. Raises RegistryError MANIFEST_TOO_LARGE, before reading if it can."""
    if request.content_length is not None and request.content_length > most:
        raise refuse("MANIFEST_TOO_LARGE")
    pieces: list[bytes] = []
    size = 0
    async for piece in incoming(request):
        size += len(piece)
        if size > most:
            raise refuse("MANIFEST_TOO_LARGE")
        pieces.append(piece)
    return b"".join(pieces)


async def send_file(request: web.Request, response: web.StreamResponse, path: Path, pieces: Sequence[Piece]) -> None:
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
                    await _send_span(transport, file, piece)
            await response.write_eof()
    finally:
        file.close()


async def _send_span(transport: asyncio.WriteTransport, file: BinaryIO, span: Span) -> None:
    if span.size == 0:  # an error to asyncio
        return
    if await asyncio.get_running_loop().sendfile(transport, file, span.start, span.size) != span.size:
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
