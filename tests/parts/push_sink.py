"""The least that an engine can push to: a registry on loopback that checks digests and keeps all in memory."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web


@dataclass
class PushSink:
    """What came. `refusal` is the reason with which blobs are refused; `login` the Authorization that it wants.

    While `open` is not set, requests for blobs wait; `asked` tells that one has come.
    """

    address: str = ""
    refusal: str = ""
    login: str = ""
    manifests: dict[str, bytes] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    open: asyncio.Event = field(default_factory=asyncio.Event)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    _uploads: dict[str, bytearray] = field(default_factory=dict)

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
            return web.json_response({}, status=507, reason=self.refusal)
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
        match request.method:
            case "HEAD":
                size = str(len(self.blobs.get(name, b"")))
                return web.Response(status=200 if name in self.blobs else 404, headers={"Content-Length": size})
            case "POST":
                upload = secrets.token_hex()
                self._uploads[upload] = bytearray()
                location = f"{request.path.rstrip('/')}/{upload}"
                return web.Response(status=202, headers={"Location": location, "Docker-Upload-UUID": upload})
            case "PATCH" | "PUT" if name in self._uploads:
                self._uploads[name] += await request.read()
                end = f"0-{len(self._uploads[name]) - 1}"
                if request.method == "PATCH":
                    return web.Response(status=202, headers={"Location": request.path, "Range": end})
                return self._commit(name, request.query["digest"])
        return _error(404, "BLOB_UNKNOWN", "unknown")

    def _commit(self, upload: str, digest: str) -> web.Response:
        data = bytes(self._uploads.pop(upload))
        if _digest(data) != digest:
            return _error(400, "DIGEST_INVALID", "the bytes have another digest")
        self.blobs[digest] = data
        return web.Response(status=201, headers={"Docker-Content-Digest": digest, "Location": "/"})


@asynccontextmanager
async def push_sink(*, refusal: str = "", login: str = "", shut: bool = False) -> AsyncIterator[PushSink]:
    """A sink on a free port of 127.0.0.1, to which a Docker Engine pushes without TLS."""
    sink = PushSink(refusal=refusal, login=login)
    if not shut:
        sink.open.set()
    app = web.Application(client_max_size=1 << 30)
    app.router.add_route("*", "/{path:.*}", sink.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        sink.address = "{}:{}".format(*runner.addresses[0][:2])
        yield sink
    finally:
        sink.open.set()
        await runner.cleanup()


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _error(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> web.Response:
    return web.json_response({"errors": [{"code": code, "message": message}]}, status=status, headers=headers)
