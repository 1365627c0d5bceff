"""A program that webhooks lead to: it keeps what it gets, and answers as it is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from parts.servers.http_server import serving
from parts.suite.eventually import LONGEST


@dataclass(frozen=True)
class Got:
    """One request as it came."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def event(self) -> dict[str, Any]:
        return dict(json.loads(self.body))


@dataclass
class Receiver:
    """`answer` makes a status of a request; `url` is where it listens."""

    url: str
    got: list[Got] = field(default_factory=list)
    answer: Callable[[Got], int] = lambda _got: 204
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    location: str = ""

    async def until(self, count: int, seconds: float = LONGEST) -> list[Got]:
        """What came, once that is so many requests."""
        async with asyncio.timeout(seconds):
            while len(self.got) < count:  # noqa: ASYNC110 - it may be called from tests of other processes
                await asyncio.sleep(0.02)
        return self.got


@asynccontextmanager
async def receiver(port: int = 0) -> AsyncIterator[Receiver]:
    """A receiver on loopback; no request is answered while its `gate` is shut."""
    here = Receiver("")
    here.gate.set()

    async def take(request: web.Request) -> web.Response:
        got = Got(request.path, dict(request.headers), await request.read())
        here.got.append(got)
        await here.gate.wait()
        return web.Response(status=here.answer(got), headers={"Location": here.location} if here.location else {})

    async with serving(take, port) as url:
        here.url = f"{url}/hook"
        try:
            yield here
        finally:
            here.gate.set()
