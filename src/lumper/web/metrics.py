"""GET /metrics: what is counted, for Prometheus. It takes a token, of the role monitor or a person's.

Source: Prometheus, "Exposition formats"; OpenMetrics 1.0 for those who ask for it.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import hdrs, web
from prometheus_client.exposition import choose_encoder

from lumper.errors import LumperError, QueueUnavailable
from lumper.model.builds.build import BuildState
from lumper.model.events import SHARED
from lumper.model.images.webhook import CallState
from lumper.model.people.people import PEOPLE, Role
from lumper.web.api.guard import Guard
from lumper.web.parts import Parts

_OFTEN_SECONDS = 5.0  # how old a figure may be that is quick to have
_SELDOM_SECONDS = 60.0  # and one for which tables are counted
_LONGEST_SECONDS = 5.0  # for which one is waited: Prometheus waits for ten
_DEAD = 1000


class MetricsRoute:
    """Looks up what is not counted as it happens, however often it is asked."""

    def __init__(self, parts: Parts, data: Path) -> None:
        self._metrics = parts.metrics
        self._figures = parts.history.figures
        self._webhooks = parts.history.webhooks
        self._broker = parts.broker
        self._registry = parts.registry
        self._data = data
        self._alone = asyncio.Lock()
        self._due: dict[Callable[[], Awaitable[None]], float] = {}

    async def show(self, request: web.Request) -> web.Response:
        """All metrics."""
        async with self._alone:
            await asyncio.gather(
                self._looked(self._look_at_queue, _OFTEN_SECONDS),
                self._looked(self._look_at_builds, _OFTEN_SECONDS),
                self._looked(self._look_at_disk, _OFTEN_SECONDS),
                self._looked(self._look_at_webhooks, _OFTEN_SECONDS),
                self._looked(self._look_at_registry, _SELDOM_SECONDS),
            )
        encode, content_type = choose_encoder(request.headers.get(hdrs.ACCEPT, ""))
        body = await asyncio.to_thread(encode, self._metrics.registry)
        return web.Response(body=body, headers={hdrs.CONTENT_TYPE: content_type, hdrs.CACHE_CONTROL: "no-store"})

    async def _looked(self, look: Callable[[], Awaitable[None]], seconds: float) -> None:
        if time.monotonic() < self._due.get(look, 0.0):
            return
        try:
            async with asyncio.timeout(_LONGEST_SECONDS):
                await look()
        except (LumperError, OSError):  # of which TimeoutError is one; the other figures are all the more wanted then
            return
        self._due[look] = time.monotonic() + seconds

    async def _look_at_queue(self) -> None:
        self._metrics.queue_up.set(0)
        self._metrics.queue_messages.clear()
        self._metrics.queue_dead.clear()
        try:
            for topic in SHARED:
                self._metrics.queue_messages.labels(topic).set(await self._broker.depth(topic))
                dead = await self._broker.dead_letters(topic, _DEAD)
                self._metrics.queue_dead.labels(topic).set(len(dead))
        except QueueUnavailable:
            return
        self._metrics.queue_up.set(1)

    async def _look_at_builds(self) -> None:
        self._metrics.outbox.set(await self._figures.outbox())
        found = await self._figures.builds()
        for state in BuildState:
            self._metrics.builds.labels(state.value).set(found.get(state, 0))

    async def _look_at_webhooks(self) -> None:
        found = await self._webhooks.counts()
        self._metrics.webhook_waiting.set(found[CallState.WAITING])
        self._metrics.webhook_dead.set(found[CallState.DEAD])

    async def _look_at_disk(self) -> None:
        disk = await asyncio.to_thread(shutil.disk_usage, self._data)
        self._metrics.data_free.set(disk.free)
        self._metrics.data_size.set(disk.total)

    async def _look_at_registry(self) -> None:
        found = await self._figures.registry()
        self._metrics.repositories.set(found.repositories)
        self._metrics.tags.set(found.tags)
        self._metrics.manifests.set(found.manifests)
        self._metrics.blobs.set(found.blobs)
        self._metrics.stored.set(found.size)
        self._metrics.repository_bytes.clear()
        for repository, size in found.largest.items():
            self._metrics.repository_bytes.labels(repository).set(size)
        self._metrics.uploads.set(await self._registry.blobs.open_uploads())


def add_routes(app: web.Application, guard: Guard, parts: Parts, data: Path) -> None:
    """Serve the metrics; `data` is the folder whose disk is watched."""
    route = MetricsRoute(parts, data)
    app.router.add_get("/metrics", guard.allowed(route.show, *PEOPLE, Role.MONITOR))
