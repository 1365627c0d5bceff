"""The registry's HTTP API. Source: OCI distribution-spec 1.1, and Docker Registry HTTP API V2 for older clients."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from urllib.parse import quote

import structlog
from aiohttp import hdrs, web

from lumper.errors import RegistryError, StorageError, StorageFull, TooManyAttempts, Unauthorized
from lumper.model.image import is_digest, is_repository
from lumper.registry.access import DELETE, PULL, PUSH
from lumper.registry.blobs import Session
from lumper.registry.errors import refuse, status_of
from lumper.registry.manifests import MAX_BYTES, check_reference
from lumper.registry.port import StoredBlob
from lumper.registry.registry import Registry
from lumper.registry.tags import Page, page_size
from lumper.web.auth import REGISTRY_SECONDS, Authenticator, Grant
from lumper.web.oci_address import Address, Kind, parse_address, parse_content_range, parse_range
from lumper.web.oci_body import expect_later, incoming, incoming_whole, send_file
from lumper.web.oci_rights import Anonymous, Caller, Challenge, asked_scopes, bearer_challenge, scope_of

log = structlog.get_logger(__name__)

_EMPTY = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"  # of no bytes at all
_BLOB_TYPE = "application/octet-stream"

_Handler = Callable[[web.Request, Address], Awaitable[web.StreamResponse]]


def add_routes(
    app: web.Application,
    registry: Registry,
    authenticator: Authenticator,
    *,
    public_url: str = "",
    anonymous: Anonymous = "none",
) -> None:
    """Serve `/v2/`. `public_url` is where clients reach us (`https://host`), "" for what they ask for."""
    api = _RegistryApi(registry, authenticator, public_url, anonymous)
    app.router.add_route("*", "/v2", api.handle)
    app.router.add_route("*", "/v2/{path:(?s:.*)}", api.handle, expect_handler=expect_later)


class _RegistryApi:
    def __init__(self, registry: Registry, authenticator: Authenticator, public_url: str, anonymous: Anonymous) -> None:
        self._blobs = registry.blobs
        self._manifests = registry.manifests
        self._listings = registry.listings
        self._authenticator = authenticator
        self._public_url = public_url
        self._anonymous: Anonymous = anonymous
        self._handlers: dict[tuple[Kind, str], _Handler] = {
            (Kind.PING, "GET"): self._ping,
            (Kind.TOKEN, "GET"): self._token,
            (Kind.CATALOG, "GET"): self._catalog,
            (Kind.TAGS, "GET"): self._list_tags,
            (Kind.MANIFEST, "GET"): self._get_manifest,
            (Kind.MANIFEST, "PUT"): self._put_manifest,
            (Kind.MANIFEST, "DELETE"): self._delete_manifest,
            (Kind.BLOB, "GET"): self._get_blob,
            (Kind.BLOB, "DELETE"): self._delete_blob,
            (Kind.UPLOADS, "POST"): self._begin_upload,
            (Kind.UPLOAD, "GET"): self._upload_status,
            (Kind.UPLOAD, "PATCH"): self._append,
            (Kind.UPLOAD, "PUT"): self._finish_upload,
            (Kind.UPLOAD, "DELETE"): self._cancel_upload,
        }

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer any request under `/v2/`: an error is always JSON as the specification has it."""
        response = await self._answered(request)
        if not response.prepared:
            response.headers["Docker-Distribution-Api-Version"] = "registry/2.0"
            if not request.content.is_eof():  # the rest of the body is not wanted
                response.force_close()
        return response

    async def _answered(self, request: web.Request) -> web.StreamResponse:
        try:
            address = parse_address(request.rel_url.raw_path)
            handler = self._handlers.get((address.kind, "GET" if request.method == "HEAD" else request.method))
            if handler is None:
                return self._unhandled(address)
            if request.can_read_body and request.headers.get(hdrs.CONTENT_ENCODING, "identity").lower() != "identity":
                raise refuse("ENCODING_UNSUPPORTED")
            return await handler(request, address)
        except RegistryError as exc:
            return _error(exc)
        except Challenge as exc:
            header = bearer_challenge(request, self._authenticator, self._public_url, exc)
            return _error(refuse("UNAUTHORIZED", exc.message), {hdrs.WWW_AUTHENTICATE: header})
        except TooManyAttempts as exc:
            return _error(refuse("TOOMANYREQUESTS", exc.sentence), {hdrs.RETRY_AFTER: str(exc.retry_after)})
        except StorageFull as exc:
            log.error("The registry has no space left.", action="registry_full", path=request.path)
            return _error(refuse("STORAGE_FULL", exc.sentence))
        except StorageError as exc:
            log.error("The registry's storage failed.", action="registry_storage", path=request.path, error=str(exc))
            return _error(refuse("UNAVAILABLE"))
        except (ConnectionError, web.HTTPException):
            raise
        except Exception:
            log.exception("The registry failed.", action="registry_failed", path=request.path)
            return _error(refuse("UNKNOWN"))

    def _unhandled(self, address: Address) -> web.Response:
        methods = [method for kind, method in self._handlers if kind is address.kind]
        if not methods:
            raise refuse("NOT_FOUND")
        if "GET" in methods:
            methods.append("HEAD")
        return _error(refuse("UNSUPPORTED"), {hdrs.ALLOW: ", ".join(sorted(methods))})

    async def _caller(self, request: web.Request, scope: str = "") -> Caller:
        """Who asks. Raises Challenge without credentials, where anyone may do nothing, and with wrong ones."""
        try:
            grant = await self._authenticator.grant(request)
        except Unauthorized as exc:
            raise Challenge(scope, "invalid_token", exc.message) from exc
        if grant is None and self._anonymous == "none":
            raise Challenge(scope)
        return Caller(grant or Grant(None), self._anonymous)

    async def _allowed(self, request: web.Request, address: Address, action: str) -> Caller:
        caller = await self._caller(request, scope_of(address.repository, action))
        caller.check(address.repository, action)
        return caller

    async def _ping(self, request: web.Request, _address: Address) -> web.Response:
        """Without credentials the answer is the challenge, also where anyone may pull: clients learn of it here."""
        caller = await self._caller(request)
        if caller.grant.identity is None and caller.grant.access is None:
            raise Challenge("")
        return web.json_response({})

    async def _token(self, request: web.Request, _address: Address) -> web.Response:
        """Docker's token flow: credentials in, a short token out that reaches as far as they do."""
        try:
            grant = await self._authenticator.grant(request)
        except Unauthorized as exc:
            return _basic_challenge(exc.message)
        if grant is None and self._anonymous == "none":
            return _basic_challenge("")
        if (grant is not None and grant.access is not None) or not self._is_our_service(request):
            raise refuse("UNAUTHORIZED", "A token is given for a password or an API token, and for this service only.")
        caller = Caller(grant or Grant(None), self._anonymous)
        token = self._authenticator.registry_token(
            Grant(caller.grant.identity, caller.reachable(asked_scopes(request)))
        )
        answer = {
            "token": token,
            "access_token": token,
            "expires_in": REGISTRY_SECONDS,
            "issued_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        return web.json_response(answer, headers={hdrs.CACHE_CONTROL: "no-store"})

    def _is_our_service(self, request: web.Request) -> bool:
        return request.query.get("service", self._authenticator.service) == self._authenticator.service

    async def _catalog(self, request: web.Request, _address: Address) -> web.Response:
        (await self._caller(request, "registry:catalog:*")).check_catalog()
        size = page_size(request.query.get("n"))
        page = await self._listings.repositories(request.query.get("last", ""), size)
        return _listing(request, {"repositories": page.names}, page)

    async def _list_tags(self, request: web.Request, address: Address) -> web.Response:
        await self._allowed(request, address, PULL)
        size = page_size(request.query.get("n"))
        page = await self._listings.tags(address.repository, request.query.get("last", ""), size)
        return _listing(request, {"name": address.repository, "tags": page.names}, page)

    async def _get_manifest(self, request: web.Request, address: Address) -> web.Response:
        await self._allowed(request, address, PULL)
        manifest = await self._manifests.find(address.repository, address.item)
        headers = _digest_headers(manifest.digest)
        if _has_already(request, manifest.digest):
            return web.Response(status=304, headers=headers)
        headers[hdrs.CONTENT_TYPE] = manifest.media_type
        return web.Response(body=await self._manifests.content(manifest), headers=headers)

    async def _put_manifest(self, request: web.Request, address: Address) -> web.Response:
        caller = await self._allowed(request, address, PUSH)
        check_reference(address.item)
        if not is_digest(address.item):
            caller.check_tag(address.item)
        media_type = request.headers.get(hdrs.CONTENT_TYPE, "").partition(";")[0].strip()
        body = await incoming_whole(request, MAX_BYTES)
        manifest = await self._manifests.put(address.repository, address.item, media_type, body)
        location = f"/v2/{address.repository}/manifests/{manifest.digest}"
        return web.Response(status=201, headers={hdrs.LOCATION: location, "Docker-Content-Digest": manifest.digest})

    async def _delete_manifest(self, request: web.Request, address: Address) -> web.Response:
        caller = await self._allowed(request, address, DELETE)
        if not is_digest(address.item):
            caller.check_tag(address.item)
        await self._manifests.delete(address.repository, address.item)
        return web.Response(status=202)

    async def _get_blob(self, request: web.Request, address: Address) -> web.StreamResponse:
        await self._allowed(request, address, PULL)
        blob = await self._blobs.stat(address.repository, address.item)
        headers = {**_digest_headers(blob.digest), hdrs.ACCEPT_RANGES: "bytes"}
        if _has_already(request, blob.digest):
            return web.Response(status=304, headers=headers)
        elsewhere = await self._blobs.address(blob) if request.method == "GET" else None
        if elsewhere is not None:  # the address is a secret for its minutes, and another one next time
            return web.Response(
                status=307, headers={**headers, hdrs.LOCATION: elsewhere, hdrs.CACHE_CONTROL: "no-store"}
            )
        try:
            part = parse_range(request.headers.get(hdrs.RANGE), blob.size) if _range_counts(request, blob) else None
        except RegistryError as exc:
            return _error(exc, {hdrs.CONTENT_RANGE: f"bytes */{blob.size}"})
        start, end = part or (0, blob.size)
        response = web.StreamResponse(status=206 if part else 200, headers=headers)
        response.content_type = _BLOB_TYPE
        response.content_length = end - start
        if part:
            response.headers[hdrs.CONTENT_RANGE] = f"bytes {start}-{end - 1}/{blob.size}"
        if request.method != "HEAD":
            await self._send(request, response, blob, start, end)
        return response

    async def _send(
        self, request: web.Request, response: web.StreamResponse, blob: StoredBlob, start: int, end: int
    ) -> None:
        if blob.path is not None:
            try:
                await send_file(request, response, blob.path, start, end)
            except FileNotFoundError as exc:
                raise refuse("BLOB_UNKNOWN", detail=blob.digest) from exc
            return
        await response.prepare(request)
        async for chunk in self._blobs.read(blob.digest, start, end):
            await response.write(chunk)
        await response.write_eof()

    async def _delete_blob(self, request: web.Request, address: Address) -> web.Response:
        await self._allowed(request, address, DELETE)
        await self._blobs.delete(address.repository, address.item)
        return web.Response(status=202)

    async def _begin_upload(self, request: web.Request, address: Address) -> web.Response:
        caller = await self._allowed(request, address, PUSH)
        mount, source = request.query.get("mount"), request.query.get("from", "")
        may_mount = mount is not None and is_repository(source) and caller.may(source, PULL)
        if mount and may_mount and await self._blobs.mount(address.repository, mount, source):
            return _blob_made(address.repository, mount)
        digest = request.query.get("digest")
        if digest is not None and (request.can_read_body or digest == _EMPTY):
            return await self._upload_at_once(request, address, caller, digest)
        session = await self._blobs.begin(address.repository, caller.owner)
        return _upload_state(session, 0, status=202)

    async def _upload_at_once(
        self, request: web.Request, address: Address, caller: Caller, digest: str
    ) -> web.Response:
        if not is_digest(digest):
            raise refuse("DIGEST_INVALID", detail=digest[:200])
        session = await self._blobs.begin(address.repository, caller.owner)
        try:
            await self._blobs.finish(session, digest, data=incoming(request))
        except BaseException:
            await asyncio.shield(self._blobs.forget(session))
            raise
        return _blob_made(address.repository, digest)

    async def _session(self, request: web.Request, address: Address) -> Session:
        caller = await self._allowed(request, address, PUSH)
        return Session(address.repository, caller.owner, address.item)

    async def _upload_status(self, request: web.Request, address: Address) -> web.Response:
        session = await self._session(request, address)
        return _upload_state(session, await self._blobs.size(session), status=204)

    async def _append(self, request: web.Request, address: Address) -> web.Response:
        session = await self._session(request, address)
        size = await self._blobs.size(session)
        try:
            start = _first_byte(request)
            size = await self._blobs.append(session, start, incoming(request))
        except RegistryError as exc:
            if exc.code == "RANGE_INVALID":
                return _error(exc, _upload_headers(session, size))
            raise
        return _upload_state(session, size, status=202)

    async def _finish_upload(self, request: web.Request, address: Address) -> web.Response:
        session = await self._session(request, address)
        digest = request.query.get("digest", "")
        data = incoming(request) if request.can_read_body else None
        blob = await self._blobs.finish(session, digest, _first_byte(request), data)
        return _blob_made(address.repository, blob.digest)

    async def _cancel_upload(self, request: web.Request, address: Address) -> web.Response:
        await self._blobs.cancel(await self._session(request, address))
        return web.Response(status=204)


def _error(error: RegistryError, headers: dict[str, str] | None = None) -> web.Response:
    entry = {"code": error.code, "message": error.message}
    if error.detail:
        entry["detail"] = error.detail
    return web.json_response({"errors": [entry]}, status=status_of(error.code), headers=headers)


def _basic_challenge(message: str) -> web.Response:
    return _error(refuse("UNAUTHORIZED", message), {hdrs.WWW_AUTHENTICATE: 'Basic realm="Lumper", charset="UTF-8"'})


def _digest_headers(digest: str) -> dict[str, str]:
    return {"Docker-Content-Digest": digest, hdrs.ETAG: f'"{digest}"'}


def _has_already(request: web.Request, digest: str) -> bool:
    """If-None-Match, RFC 9110, section 13.1.2: weak comparison, and what a digest names never changes."""
    asked = request.headers.get(hdrs.IF_NONE_MATCH, "")
    return digest in [tag.strip().removeprefix("W/").strip('"') for tag in asked.split(",")]


def _range_counts(request: web.Request, blob: StoredBlob) -> bool:
    """If-Range, RFC 9110, section 13.1.5: with another version in mind the client gets all of this one."""
    asked = request.headers.get(hdrs.IF_RANGE)
    return asked is None or asked.strip() == f'"{blob.digest}"'


def _first_byte(request: web.Request) -> int | None:
    return parse_content_range(request.headers.get(hdrs.CONTENT_RANGE), request.content_length)


def _blob_made(repository: str, digest: str) -> web.Response:
    headers = {hdrs.LOCATION: f"/v2/{repository}/blobs/{digest}", "Docker-Content-Digest": digest}
    return web.Response(status=201, headers=headers)


def _upload_headers(session: Session, size: int) -> dict[str, str]:
    return {
        hdrs.LOCATION: f"/v2/{session.repository}/blobs/uploads/{session.name}",
        hdrs.RANGE: f"0-{max(0, size - 1)}",
        "Docker-Upload-UUID": session.name,
    }


def _upload_state(session: Session, size: int, status: int) -> web.Response:
    return web.Response(status=status, headers=_upload_headers(session, size))


def _listing(request: web.Request, answer: dict[str, object], page: Page) -> web.Response:
    headers = {}
    if page.more:
        query = f"n={len(page.names)}&last={quote(page.names[-1], safe='')}"
        headers[hdrs.LINK] = f'<{request.rel_url.raw_path}?{query}>; rel="next"'
    return web.json_response(answer, headers=headers)
