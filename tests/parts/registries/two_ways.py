"""One registry that is reached both past aiohttp and through it, so that the answers can be compared."""

from __future__ import annotations

import array
import asyncio
import base64
import fcntl
import json
import re
import socket
import termios
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from lumper.model.people.people import Role
from lumper.registry.access import Anonymous
from lumper.web.auth.rate_limits import RateLimits
from lumper.web.connection.shortcut import protocols
from parts.registries.live_registry import (
    OCI_MANIFEST,
    PASSWORD,
    LiveRegistry,
    RegistryClient,
    digest_of,
    image_manifest,
    live_registry,
)

LAYER = digest_of(b"layer")
MANIFEST = json.dumps(image_manifest((digest_of(b"{}"), 2), (LAYER, 5))).encode()
DIGEST = digest_of(MANIFEST)
_BASIC = base64.b64encode(f"admin:{PASSWORD}".encode()).decode()
_LAST = b"GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

Protocols = Callable[[], asyncio.Protocol]
Send = Callable[[bytes], Awaitable[None]]


@dataclass
class Ways:
    """One registry, with the image `a/b:latest`, and the two ways to it."""

    live: LiveRegistry
    admin: RegistryClient
    shortcut: Protocols
    aiohttp: Protocols
    scoped: str

    @property
    def answered_by_aiohttp(self) -> int:
        server = self.live.runner.server
        assert server is not None
        return server.requests_count

    def request(self, method: str, path: str, credentials: str = "", *fields: str, body: bytes = b"") -> bytes:
        """A request as bytes. `credentials` are one of the names below, or what stands in the field."""
        known = {
            "": "",
            "basic": f"Basic {_BASIC}",
            "admin": f"Bearer {self.live.tokens[Role.ADMIN]}",
            "operator": f"Bearer {self.live.tokens[Role.OPERATOR]}",
            "mailer": f"Bearer {self.live.tokens[Role.MAILER]}",
            "scoped": f"Bearer {self.scoped}",
        }
        told = known.get(credentials, credentials)
        lines = [f"{method} {path} HTTP/1.1", "Host: x", *fields, *([f"Authorization: {told}"] if told else [])]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        return "\r\n".join([*lines, "", ""]).encode() + body


@asynccontextmanager
async def two_ways(
    folder: Path, anonymous: Anonymous = "none", limits: RateLimits | None = None
) -> AsyncIterator[Ways]:
    async with (
        live_registry(folder, anonymous=anonymous, limits=limits) as live,
        aiohttp.ClientSession() as session,
    ):
        admin = RegistryClient(session, live.url, live.tokens[Role.ADMIN])
        for data in (b"{}", b"layer"):
            await admin.push_blob("a/b", data)
        kind = {"Content-Type": OCI_MANIFEST}
        assert await admin.status("PUT", "/v2/a/b/manifests/latest", data=MANIFEST, headers=kind) == 201
        path = "/v2/token?scope=repository:a/b:pull"
        async with session.get(live.url + path, headers={"Authorization": f"Basic {_BASIC}"}) as answer:
            scoped = (await answer.json())["token"]
        server = live.runner.server
        assert server is not None
        yield Ways(live, admin, protocols(live.runner), server, scoped)


@asynccontextmanager
async def connected(way: Protocols) -> AsyncIterator[tuple[Send, socket.socket, asyncio.Transport]]:
    """A connection whose server has read what was sent before more is sent: a piece here is a piece there."""
    loop = asyncio.get_running_loop()
    client, server = socket.socketpair()
    client.setblocking(False)
    transport, _ = await loop.connect_accepted_socket(way, server)

    async def send(piece: bytes) -> None:
        try:
            await loop.sock_sendall(client, piece)
            while not transport.is_closing() and _unread(server):  # noqa: ASYNC110 - no event
                await asyncio.sleep(0)
        except ConnectionError:  # the server has heard enough
            return

    try:
        yield send, client, transport
    finally:
        client.close()
        transport.abort()


def _unread(connection: socket.socket) -> int:
    size = array.array("i", [0])
    fcntl.ioctl(connection, termios.FIONREAD, size)
    return size[0]


async def spoken(way: Protocols, *pieces: bytes) -> bytes:
    """All that is answered to these pieces and a last request, without dates and aiohttp's words for what is wrong."""
    answers = b""
    async with asyncio.timeout(60), connected(way) as (send, client, _):
        for piece in (*pieces, _LAST):
            await send(piece)
        try:
            while data := await asyncio.get_running_loop().sock_recv(client, 65536):
                answers += data
        except ConnectionError:
            pass
    return re.sub(rb"Date: [^\r]+\r\n|(?s:(?<=Bad Request\r\nContent-Type: text/plain).*)", b"", answers)


def before_the_nonsense(answers: bytes) -> bytes:
    """What a next request that begins in the middle has no part in: aiohttp tells of it in the answer before it, by
    closing, if it has come by then, and else in an answer of its own.
    """
    return re.sub(rb"Connection: close\r\n|HTTP/1\.0 400 Bad Request\r\nContent-Type: text/plain$", b"", answers)
