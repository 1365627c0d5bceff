"""A push into a bucket by a process that is killed at its n-th change there.

Between the process and the service stands a proxy, which counts the requests that change something. What the process
does itself between two of them is covered by both moments: before such a request arrives, and before it is answered.
"""

from __future__ import annotations

import asyncio
import io
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from enum import Enum
from pathlib import Path

from aiohttp import ClientSession, DummyCookieJar, TCPConnector, web
from yarl import URL

from lumper.model.images.activity import SERVER
from lumper.registry.catalog.images import ImageHistory
from lumper.registry.gc.collector import Policy
from lumper.registry.registry import Registry
from lumper.store.database import Database
from parts.processes.fork_server import forking
from parts.registries.crashing_push import push_to
from parts.s3.s3_service import Bucket
from parts.servers.http_server import serving

Work = Callable[[Bucket, Path, str], None]

_CHANGING = ("PUT", "POST", "DELETE")
_LARGE = (8 << 20) + 1  # bytes: two parts of a multipart upload
_OWN = {"transfer-encoding", "content-encoding", "connection", "date", "server"}  # of the proxy's answers


class Moment(Enum):
    """When the process dies."""

    BEFORE = "before the service hears of the request"
    AFTER = "after the service has done it, before the process hears of that"


class Proxy:
    """Forwards requests to an S3 service that does not look at signatures."""

    def __init__(self, endpoint: str, session: ClientSession) -> None:
        self._endpoint = endpoint
        self._session = session
        self._victim = 0
        self._left = 0
        self._moment = Moment.BEFORE

    def kill(self, victim: int, change: int, moment: Moment) -> None:
        """Kill this process at its n-th change from now on; 1 is the next one."""
        self._victim, self._left, self._moment = victim, change, moment

    async def handle(self, request: web.Request) -> web.Response:
        """Forward a request, unless its sender dies before that."""
        body = await request.read()
        self._left -= request.method in _CHANGING
        now = self._left == 0 and request.method in _CHANGING
        if now and self._moment is Moment.BEFORE:
            self._strike()
            raise web.HTTPServiceUnavailable  # nobody hears it
        url = URL(f"{self._endpoint}{request.raw_path}", encoded=True)
        async with self._session.request(request.method, url, headers=request.headers, data=io.BytesIO(body)) as answer:
            content = await answer.read()
        if now:
            self._strike()
        headers = {name: value for name, value in answer.headers.items() if name.lower() not in _OWN}
        if request.method == "HEAD":
            return web.Response(status=answer.status, headers=headers)
        headers.pop("Content-Length", None)
        return web.Response(status=answer.status, headers=headers, body=content)

    def _strike(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self._victim, signal.SIGKILL)


@asynccontextmanager
async def proxied(bucket: Bucket) -> AsyncIterator[tuple[Proxy, Bucket]]:
    """A proxy, and the bucket as it is reached through it."""
    async with ClientSession(cookie_jar=DummyCookieJar(), connector=TCPConnector(), auto_decompress=False) as session:
        proxy = Proxy(bucket.endpoint, session)
        async with serving(proxy.handle) as url:
            yield proxy, replace(bucket, endpoint=url)


async def crashed(
    proxy: Proxy, bucket: Bucket, folder: Path, change: int, moment: Moment, work: Work | None = None
) -> bool:
    """Push, or do this work, in a process that is killed at this change of the bucket; whether it got so far."""
    process = forking().Process(target=work or push, args=(bucket, folder, f"v{change}-{moment.name.lower()}"))
    process.start()
    assert process.pid is not None
    proxy.kill(process.pid, change, moment)
    await asyncio.to_thread(process.join, 120)
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


def layer_of(version: str) -> bytes:
    """The layer of this version: so large that it has an object of its own."""
    return (version.encode() * _LARGE)[:_LARGE]


def push(bucket: Bucket, folder: Path, version: str) -> None:
    """Push until the crash."""
    asyncio.run(push_to(bucket.open(), folder, version, layer_of(version)))


def collect(bucket: Bucket, folder: Path, _version: str) -> None:
    """Delete all manifests and collect what is garbage then, until the crash."""
    asyncio.run(_with_registry(bucket, folder, _collect))


def verify(bucket: Bucket, folder: Path, _version: str) -> None:
    """Read everything again, and set aside what is damaged, until the crash."""
    asyncio.run(_with_registry(bucket, folder, _verify))


async def _collect(registry: Registry) -> None:
    for digest in {one.digest for one in await registry.metadata.tags("one") or []}:
        await registry.manifests.delete("one", digest, actor=SERVER)
    for _ in range(5):
        await registry.names.tell()
        await registry.collector.run()


async def _verify(registry: Registry) -> None:
    async for _ in registry.verifier.run():
        pass


async def _with_registry(bucket: Bucket, folder: Path, work: Callable[[Registry], Awaitable[None]]) -> None:
    database, storage = Database(f"sqlite:///{folder}/lumper.db"), bucket.open()
    await database.migrate()
    await work(Registry(storage, ImageHistory(database), Policy(timedelta(0))))
    await storage.close()
    await database.close()
