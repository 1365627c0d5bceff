"""Uploads: begun, mounted, written in chunks or at once, asked for, finished, cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

from aiohttp import hdrs, web

from lumper.errors import RegistryError
from lumper.metrics import Requests
from lumper.model.images.image import is_digest, is_repository
from lumper.registry.access import PULL, PUSH
from lumper.registry.blobs import Blobs, Session, check_digest
from lumper.registry.errors import refuse
from lumper.web.oci.address import Address, Kind
from lumper.web.oci.answers import DIGEST, Routes, error_answer
from lumper.web.oci.bytes.body import incoming_small
from lumper.web.oci.bytes.large_bodies import LargeBodies
from lumper.web.oci.bytes.ranges import Span, parse_content_range
from lumper.web.oci.guard import Guard
from lumper.web.oci.rights import Caller, scope_of

_EMPTY = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"  # of no bytes at all
_ALGORITHMS = ("sha256", "sha512")
_SMALL = 64 << 10  # bytes, which the event loop hashes in 50 µs

Body = Callable[[], Awaitable[AsyncIterator[bytes] | bytes]]


class UploadRoutes:
    """Answers what is asked of uploads."""

    def __init__(self, blobs: Blobs, guard: Guard, requests: Requests) -> None:
        self._requests = requests
        self._blobs = blobs
        self._guard = guard
        self._large_bodies = LargeBodies()

    def routes(self) -> Routes:
        """What is answered here."""
        return {
            (Kind.UPLOADS, "POST"): self._begin,
            (Kind.UPLOAD, "GET"): self._status,
            (Kind.UPLOAD, "PATCH"): self._append,
            (Kind.UPLOAD, "PUT"): self._finish,
            (Kind.UPLOAD, "DELETE"): self._cancel,
        }

    async def _begin(self, request: web.Request, address: Address) -> web.Response:
        source = request.query.get("from", "")
        scopes = [scope_of(source, PULL)] if is_repository(source) else []
        caller = await self._guard.allowed(request, address, PUSH, *scopes)
        if request.query.get("digest-algorithm", "sha256") not in _ALGORITHMS:
            raise refuse("DIGEST_INVALID", f"digest-algorithm is none of {', '.join(_ALGORITHMS)}.")
        digest = request.query.get("digest")
        if digest is not None:
            check_digest(digest)
        mounted = request.query.get("mount")
        if mounted and await self._mount(caller, address.repository, mounted, source):
            return _made(address.repository, mounted)
        if digest is not None and (request.can_read_body or digest == _EMPTY):
            return await self.at_once(address.repository, caller, digest, partial(self._rest, request))
        return await self.begun(
            address.repository, caller, digest or (mounted if mounted and is_digest(mounted) else "")
        )

    async def begun(self, repository: str, caller: Caller, digest: str = "") -> web.Response:
        """Begin an upload, of this `digest` if that is said, for a caller who may."""
        return _state(await self._blobs.begin(repository, caller.owner, digest), 0, status=202)

    async def _mount(self, caller: Caller, repository: str, digest: str, source: str) -> bool:
        """Let the repository serve a blob that the caller may read; without `source`, from wherever it is.

        What it serves already need not be anywhere else.

        Credentials for certain repositories do not reach into others, not even by a mount (CVE-2024-39897).
        """
        if not is_digest(digest):
            return False
        if source:
            sources = [source] if is_repository(source) else []
        else:
            sources = caller.limited_to() or []
            if caller.limited_to() is None:
                sources = await self._blobs.repositories_with(digest)
        for name in dict.fromkeys((*sources, repository)):
            if caller.may(name, PULL) and await self._blobs.mount(repository, digest, name):
                return True
        return False

    async def at_once(self, repository: str, caller: Caller, digest: str, body: Body) -> web.Response:
        """Store a whole blob for a caller who may."""
        check_digest(digest)
        session = await self._blobs.begin(repository, caller.owner, digest)
        try:
            blob = await self._blobs.finish(session, digest, data=await body())
            self._requests.received(blob.size)
        except BaseException:
            await asyncio.shield(self._blobs.forget(session))
            raise
        return _made(repository, digest)

    async def _session(self, request: web.Request, address: Address) -> Session:
        caller = await self._guard.allowed(request, address, PUSH)
        return Session(address.repository, caller.owner, address.item)

    async def _status(self, request: web.Request, address: Address) -> web.Response:
        session = await self._session(request, address)
        return _state(session, await self._blobs.size(session), status=204)

    async def _append(self, request: web.Request, address: Address) -> web.Response:
        session = await self._session(request, address)
        size = before = await self._blobs.size(session)
        try:
            span = _span(request)
            size = await self._blobs.append(session, span.start if span else None, self._large_bodies.body(request))
        except RegistryError as exc:
            return _refused(exc, session, size)
        self._requests.received(size - before)
        if span is not None and size != span.end:
            return _refused(refuse("SIZE_INVALID", "Content-Range does not fit what came."), session, size)
        return _state(session, size, status=202)

    async def _finish(self, request: web.Request, address: Address) -> web.Response:
        session = await self._session(request, address)
        digest = request.query.get("digest", "")
        return await self.finished(session, digest, partial(_span, request), partial(self._rest, request))

    async def finished(
        self, session: Session, digest: str, span: Callable[[], Span | None], body: Body
    ) -> web.Response:
        """End an upload for a caller who may push; `span` says where the body belongs, or raises RegistryError."""
        size = await self._blobs.size(session)
        try:
            place = span()
            blob = await self._blobs.finish(session, digest, place.start if place else None, await body())
        except RegistryError as exc:
            return _refused(exc, session, size)
        self._requests.received(blob.size - size)
        return _made(session.repository, blob.digest)

    async def _rest(self, request: web.Request) -> AsyncIterator[bytes] | bytes:
        """The body with which an upload ends; a small one whole, so that it is on the disk in one step.

        Where many are on their way, none is held until all of it has come.
        """
        length, room = request.content_length, self._large_bodies.received
        if not request.can_read_body or (length is not None and length <= min(_SMALL, room.share)):
            return await incoming_small(request, room)
        return self._large_bodies.body(request)

    async def _cancel(self, request: web.Request, address: Address) -> web.Response:
        await self._blobs.cancel(await self._session(request, address))
        return web.Response(status=204)


def _span(request: web.Request) -> Span | None:
    return parse_content_range(request.headers.get(hdrs.CONTENT_RANGE), request.content_length)


def _made(repository: str, digest: str) -> web.Response:
    return web.Response(status=201, headers={hdrs.LOCATION: f"/v2/{repository}/blobs/{digest}", DIGEST: digest})


def _headers(session: Session, size: int) -> dict[str, str]:
    return {
        hdrs.LOCATION: f"/v2/{session.repository}/blobs/uploads/{session.name}",
        hdrs.RANGE: f"0-{max(0, size - 1)}",
        "Docker-Upload-UUID": session.name,
    }


def _state(session: Session, size: int, status: int) -> web.Response:
    return web.Response(status=status, headers=_headers(session, size))


def _refused(error: RegistryError, session: Session, size: int) -> web.Response:
    """A wrong range is told together with the right one: distribution-spec 1.1, "Pushing a blob in chunks"."""
    if error.code not in ("RANGE_INVALID", "SIZE_INVALID"):
        raise error
    return error_answer(error, _headers(session, size))
