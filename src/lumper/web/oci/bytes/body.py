"""Bytes that come in: request bodies."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import SpooledTemporaryFile

from aiohttp import ClientPayloadError, HttpVersion11, web
from aiohttp.http_exceptions import HttpProcessingError

from lumper.registry.errors import refuse
from lumper.system.full_disk import storage_error
from lumper.system.library_internals import set_water_marks
from lumper.system.memory_budget import MemoryBudget

SPOOLED = 64 << 10  # bytes of a body that is wanted whole; what is larger waits in a file
IDLE_SECONDS = 60.0  # without a byte, then the upload is given up; its bytes are kept


async def expect_later(request: web.Request) -> None:
    """Take the place of aiohttp's answer to `Expect: 100-continue`: the body may come when someone reads it."""


async def say_continue(request: web.Request) -> None:
    """Ask a client that waits for it to send the body."""
    expected = request.headers.get("Expect", "").lower() == "100-continue" and request.version >= HttpVersion11
    if expected and request.can_read_body:  # HTTP/1.0 does not know of it: RFC 9110, section 10.1.1
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the answer proper has not begun


async def incoming(request: web.Request, room: MemoryBudget | None = None) -> AsyncIterator[bytes]:
    """The request's body in the pieces in which it comes; of all that are given the same `room`, no more is read ahead.

    Raises RegistryError BLOB_UPLOAD_INVALID if it stops or is not well-formed, ConnectionError if the client is gone.
    """
    await say_continue(request)
    try:
        with room.taken() if room else contextlib.nullcontext():
            while True:
                if room:
                    _read_ahead(request, room.share)
                async with asyncio.timeout(IDLE_SECONDS):
                    piece = await request.content.readany()
                if not piece:
                    return
                yield piece
                del piece  # the next one may be long in coming
    except TimeoutError as exc:
        raise refuse("BLOB_UPLOAD_INVALID", f"No byte came for {IDLE_SECONDS:.0f} s.") from exc
    except (ClientPayloadError, HttpProcessingError, web.RequestPayloadError) as exc:
        raise refuse("BLOB_UPLOAD_INVALID", "The body is not well-formed.") from exc


def _read_ahead(request: web.Request, size: int) -> None:
    """Read so many bytes at a time, and stop while two times as many are not taken.

    aiohttp fixes this for each connection when it is made, asyncio for all of them.
    """
    content, transport = request.content, request.transport
    set_water_marks(content, size, 2 * size)
    if transport is not None and hasattr(transport, "max_size"):  # of asyncio's own event loop, without TLS
        transport.max_size = size


async def incoming_small(request: web.Request, room: MemoryBudget | None = None) -> bytes:
    """The request's body, which is known to be small. Raises what `incoming` raises."""
    return b"".join([piece async for piece in incoming(request, room)]) if request.can_read_body else b""


async def incoming_spooled(
    request: web.Request, most: int, folder: Path | None, room: MemoryBudget
) -> SpooledTemporaryFile[bytes]:
    """The request's body, at most `most` bytes, in a file that is at its end; a small one is only in memory.

    All that are given the same `room` hold no more than it in memory, and read no more ahead. The file is in `folder`,
    or where the system keeps such files, and has no name. Raises RegistryError MANIFEST_TOO_LARGE, before reading if it
    can, StorageFull, StorageError if there can be no file.
    """
    if request.content_length is not None and request.content_length > most:
        raise refuse("MANIFEST_TOO_LARGE")
    spool = SpooledTemporaryFile[bytes](SPOOLED, dir=None if folder is None else str(folder))
    size = 0
    try:
        async for piece in incoming(request, room):
            size += len(piece)
            if size > most:
                raise refuse("MANIFEST_TOO_LARGE")
            await _write(spool, piece, in_memory=size <= min(SPOOLED, room.share))
            del piece  # the next one may be long in coming
    except BaseException:
        with contextlib.suppress(OSError):  # it tries once more to write what it could not
            spool.close()
        raise
    return spool


async def _write(spool: SpooledTemporaryFile[bytes], piece: bytes, *, in_memory: bool) -> None:
    try:
        if in_memory:
            spool.write(piece)
        else:
            await asyncio.to_thread(_write_through, spool, piece)
    except OSError as exc:
        raise storage_error(exc, f"There is no file for a large manifest on its way: {exc.strerror}.") from exc


def _write_through(spool: SpooledTemporaryFile[bytes], piece: bytes) -> None:
    """Leave nothing to be written later, by whoever reads it or closes it."""
    spool.rollover()
    spool.write(piece)
    spool.flush()
