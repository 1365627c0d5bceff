"""Blobs: whole, in parts, and deleted."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncIterator

from aiohttp import hdrs, web

from lumper.errors import LumperError, RegistryError
from lumper.logs import get_logger
from lumper.metrics import Requests
from lumper.registry.access import DELETE, PULL
from lumper.registry.blobs import Blobs
from lumper.registry.port import StoredBlob
from lumper.web.oci.address import Address, Kind
from lumper.web.oci.answers import Routes, digest_headers, error_answer
from lumper.web.oci.bytes.ranges import Span, parse_range
from lumper.web.oci.bytes.sendfile import FileSender, Outlet, Piece, send_file
from lumper.web.oci.conditions import check_change, check_match, depends, has_already
from lumper.web.oci.guard import Guard
from lumper.web.oci.namespaces import namespace_headers

_TYPE = "application/octet-stream"

log = get_logger(__name__)


class BlobRoutes:
    """Answers what is asked of blobs."""

    def __init__(self, blobs: Blobs, guard: Guard, requests: Requests) -> None:
        self._requests = requests
        self._blobs = blobs
        self._guard = guard
        self._sender = FileSender()

    def routes(self) -> Routes:
        """What is answered here."""
        return {(Kind.BLOB, "GET"): self._get, (Kind.BLOB, "DELETE"): self._delete}

    async def _delete(self, request: web.Request, address: Address) -> web.Response:
        await self._guard.allowed(request, address, DELETE)
        if depends(request):
            check_change(request, (await self._blobs.look(address.repository, address.item)).digest)
        await self._blobs.delete(address.repository, address.item)
        return web.Response(status=202)

    async def _get(self, request: web.Request, address: Address) -> web.StreamResponse:
        await self._guard.allowed(request, address, PULL)
        find = self._blobs.look if request.method == "HEAD" else self._blobs.stat
        blob = await find(address.repository, address.item)
        headers = {**digest_headers(blob.digest), hdrs.ACCEPT_RANGES: "bytes", **namespace_headers(request)}
        check_match(request, blob.digest)
        if has_already(request, blob.digest):
            return web.Response(status=304, headers=headers)
        elsewhere = await self._blobs.address(blob) if request.method == "GET" else None
        if elsewhere is not None:  # the address is a secret for its minutes, and another one next time
            headers |= {hdrs.LOCATION: elsewhere, hdrs.CACHE_CONTROL: "no-store"}
            return web.Response(status=307, headers=headers)
        try:
            parts = parse_range(request.headers.get(hdrs.RANGE), blob.size) if _range_counts(request, blob) else None
        except RegistryError as exc:
            return error_answer(exc, {hdrs.CONTENT_RANGE: f"bytes */{blob.size}"})
        response = web.StreamResponse(status=206 if parts else 200, headers=headers)
        pieces = _laid_out(response, blob, parts)
        if request.method != "HEAD":
            await self._send(request, response, blob, pieces)
        return response

    async def _send(
        self, request: web.Request, response: web.StreamResponse, blob: StoredBlob, pieces: list[Piece]
    ) -> None:
        try:
            if blob.path is not None:
                await send_file(self._sender, request, response, blob.path, pieces)
            else:
                await self._copy(request, response, blob, pieces)
            self._requests.sent(sum(piece.size for piece in pieces if isinstance(piece, Span)))
        except FileNotFoundError as exc:
            raise await self._blobs.gone(blob) from exc
        except (LumperError, OSError) as exc:
            if not response.prepared or request.transport is None:
                raise
            error = exc.sentence if isinstance(exc, LumperError) else str(exc)
            log.error("a blob was not sent to its end", action="registry_blob", digest=blob.digest, error=error)
            request.transport.abort()  # another answer in the middle of this one would be taken for a part of the blob

    async def _copy(
        self, request: web.Request, response: web.StreamResponse, blob: StoredBlob, pieces: list[Piece]
    ) -> None:
        chunks = self._chunks(blob, pieces)
        chunk = await anext(chunks, b"")  # a storage that does not answer is told so, which it cannot be afterwards
        with contextlib.suppress(ConnectionResetError):  # the client has gone
            await response.prepare(request)
            if request.transport is not None:
                request.transport.set_write_buffer_limits(0)
            outlet = Outlet(request)
            while chunk:
                await outlet.write(chunk)
                del chunk
                await outlet.ready()
                chunk = await anext(chunks, b"")
            await response.write_eof()

    async def _chunks(self, blob: StoredBlob, pieces: list[Piece]) -> AsyncIterator[bytes]:
        for piece in pieces:
            if isinstance(piece, Span):
                async for chunk in self._blobs.read(blob, piece.start, piece.end):
                    yield chunk
            else:
                yield piece


def _range_counts(request: web.Request, blob: StoredBlob) -> bool:
    """Whether a Range holds: for a GET only, and by If-Range for this version only, or all of it is sent.

    Source: RFC 9110, sections 13.1.5 and 14.2.
    """
    asked = request.headers.get(hdrs.IF_RANGE)
    return request.method == "GET" and (asked is None or asked.strip() == f'"{blob.digest}"')


def _laid_out(response: web.StreamResponse, blob: StoredBlob, parts: list[Span] | None) -> list[Piece]:
    """The pieces of the body, with the headers that describe them."""
    if parts is None or len(parts) == 1:
        whole = parts[0] if parts else Span(0, blob.size)
        if parts:
            response.headers[hdrs.CONTENT_RANGE] = _place(whole, blob)
        response.content_type = _TYPE
        response.content_length = whole.size
        return [whole]
    boundary = secrets.token_hex(16)
    pieces: list[Piece] = []
    for part in parts:
        head = f"\r\n--{boundary}\r\nContent-Type: {_TYPE}\r\nContent-Range: {_place(part, blob)}\r\n\r\n"
        pieces += [head.encode("ascii"), part]
    pieces.append(f"\r\n--{boundary}--\r\n".encode("ascii"))
    response.headers[hdrs.CONTENT_TYPE] = f"multipart/byteranges; boundary={boundary}"
    response.content_length = sum(piece.size if isinstance(piece, Span) else len(piece) for piece in pieces)
    return pieces


def _place(part: Span, blob: StoredBlob) -> str:
    return f"bytes {part.start}-{part.end - 1}/{blob.size}"
