"""The least that an engine can push to: a registry on loopback that checks digests and keeps all in memory."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from parts.servers.http_server import serving


@dataclass
class PushSink:
    """What came. `refusal` is the reason with which blobs are refused; `login` the Authorization that it wants.

    While `open` is not set, requests for blobs wait; `asked` tells that one has come. While `flowing` is not set, the
    bytes of uploads wait, and `held` counts them. `uploads` counts those that were
    begun, `pending` holds those that have not ended. A repository has the blobs that it was sent or that were mounted.
    """

    address: str = ""
    refusal: str = ""
    login: str = ""
    manifests: dict[str, bytes] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    open: asyncio.Event = field(default_factory=asyncio.Event)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    flowing: asyncio.Event = field(default_factory=asyncio.Event)
    held: int = 0
    uploads: int = 0
    pending: dict[str, bytearray] = field(default_factory=dict)
    _has: set[tuple[str, str]] = field(default_factory=set)

    async def answer(self, request: web.Request) -> web.Response:
        """Any request below /v2/."""
        if self.login and request.headers.get("Authorization") != self.login:
            return _error(401, "UNAUTHORIZED", "authentication required", {"WWW-Authenticate": 'Basic realm="test"'})
        if request.path == "/v2/":
            return web.json_response({})
        if "/manifests/" in request.path:
            return await self._manifest(request)
        self.asked.set()
        await self.open.wait()
        if self.refusal and request.method == "POST":
            body = {"errors": [{"code": "UNKNOWN", "message": self.refusal}]}
            return web.json_response(body, status=507, reason=self.refusal)  # some read the one, some the other
        return await self._blob(request)

    async def _manifest(self, request: web.Request) -> web.Response:
        if request.method != "PUT":
            return _error(404, "MANIFEST_UNKNOWN", "unknown")
        body = await request.read()
        digest = _digest(body)
        self.manifests[digest] = body
        return web.Response(status=201, headers={"Docker-Content-Digest": digest, "Location": request.path})

    async def _blob(self, request: web.Request) -> web.Response:
        name = request.path.rsplit("/", 1)[-1]
        repository = request.path.partition("/blobs/")[0]
        match request.method:
            case "HEAD":
                there = (repository, name) in self._has
                size = str(len(self.blobs[name])) if there else "0"
                return web.Response(status=200 if there else 404, headers={"Content-Length": size})
            case "POST":
                mount, source = request.query.get("mount", ""), request.query.get("from", "")
                if (f"/v2/{source}", mount) in self._has:
                    self._has.add((repository, mount))
                    return web.Response(status=201, headers={"Docker-Content-Digest": mount, "Location": "/"})
                self.uploads += 1
                upload = secrets.token_hex()
                self.pending[upload] = bytearray()
                location = f"{request.path.rstrip('/')}/{upload}"
                return web.Response(status=202, headers={"Location": location, "Docker-Upload-UUID": upload})
            case "PATCH" | "PUT" if name in self.pending:
                if not self.flowing.is_set():
                    self.held += 1
                    await self.flowing.wait()
                body = await request.read()
                if name not in self.pending:
                    return _error(404, "BLOB_UPLOAD_UNKNOWN", "unknown")
                self.pending[name] += body
                end = f"0-{len(self.pending[name]) - 1}"
                if request.method == "PATCH":
                    return web.Response(status=202, headers={"Location": request.path, "Range": end})
                return self._commit(repository, name, request.query["digest"])
            case "DELETE" if name in self.pending:
                del self.pending[name]
                return web.Response(status=204)
        return _error(404, "BLOB_UNKNOWN", "unknown")

    def forget(self) -> None:
        """Have no blobs any more."""
        self._has.clear()

    def _commit(self, repository: str, upload: str, digest: str) -> web.Response:
        data = bytes(self.pending.pop(upload))
        if _digest(data) != digest:
            return _error(400, "DIGEST_INVALID", "the bytes have another digest")
        self.blobs[digest] = data
        self._has.add((repository, digest))
        return web.Response(status=201, headers={"Docker-Content-Digest": digest, "Location": "/"})


@asynccontextmanager
async def push_sink(*, refusal: str = "", login: str = "", shut: bool = False) -> AsyncIterator[PushSink]:
    """A sink on a free port of 127.0.0.1, to which a Docker Engine pushes without TLS."""
    sink = PushSink(refusal=refusal, login=login)
    if not shut:
        sink.open.set()
    sink.flowing.set()
    async with serving(sink.answer) as url:
        sink.address = url.removeprefix("http://")
        try:
            yield sink
        finally:
            sink.open.set()
            sink.flowing.set()


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _error(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> web.Response:
    return web.json_response({"errors": [{"code": code, "message": message}]}, status=status, headers=headers)
