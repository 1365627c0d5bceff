"""A registry for others to mirror: a whole one of our own behind a door that counts, delays, breaks and signs in."""

from __future__ import annotations

import asyncio
import base64
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from aiohttp import web

from lumper.model.people.people import Role
from parts.registries.live_registry import LiveRegistry, RegistryClient, live_registry
from parts.servers.http_server import Handler, serving


@dataclass
class Door:
    """Stands in front of a registry. `asked` counts by method and path, `seen` are the Authorization headers by path.
    `token` may do everything at the registry.

    `first` may answer in the registry's place. `gate`, if set, holds back all but the first bytes of large blobs.
    """

    url: str = ""
    behind: str = ""
    token: str = ""
    asked: Counter[tuple[str, str]] = field(default_factory=Counter)
    seen: list[tuple[str, str]] = field(default_factory=list)
    first: Handler | None = None
    gate: asyncio.Event | None = None

    @property
    def host(self) -> str:
        return self.url.removeprefix("http://")

    def count(self, method: str, ending: str) -> int:
        """How many requests of this method had a path with this ending."""
        return sum(n for (m, path), n in self.asked.items() if m == method and path.endswith(ending))

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked[request.method, request.path] += 1
        self.seen.append((request.path, request.headers.get("Authorization", "")))
        if self.first is not None and (answer := await self.first(request)) is not None:
            return answer
        kept = ("Authorization", "Accept", "Range", "Content-Type", "Content-Length")
        headers = {name: request.headers[name] for name in kept if name in request.headers}
        body = request.content if request.can_read_body else None
        async with (
            aiohttp.ClientSession(auto_decompress=False) as session,
            session.request(
                request.method, self.behind + request.path_qs, headers=headers, data=body, allow_redirects=False
            ) as response,
        ):
            told = {k: v.replace(self.behind, self.url) for k, v in response.headers.items() if k != "Connection"}
            answer = web.StreamResponse(status=response.status, headers=told)
            await answer.prepare(request)
            async for chunk in response.content.iter_any():
                await answer.write(chunk)
                if self.gate is not None and "/blobs/" in request.path:
                    await self.gate.wait()
            await answer.write_eof()
            return answer


@asynccontextmanager
async def upstream(data: Path) -> AsyncIterator[tuple[Door, RegistryClient]]:
    """A registry where anyone may pull and push, behind a door, and a client that pushes to it."""
    data.mkdir(parents=True, exist_ok=True)
    async with live_registry(data, anonymous="push") as live, opened(live) as (door, client):
        yield door, client


@asynccontextmanager
async def opened(live: LiveRegistry) -> AsyncIterator[tuple[Door, RegistryClient]]:
    """A door in front of a registry."""
    door = Door(behind=live.url, token=live.tokens[Role.ADMIN])
    async with serving(door.answer) as url, aiohttp.ClientSession() as session:
        door.url = url
        yield door, RegistryClient(session, live.url)


def basic(name: str, password: str) -> str:
    """An Authorization header."""
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()
