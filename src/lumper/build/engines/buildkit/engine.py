"""The Engine of `build/port.py` on a Docker Engine with BuildKit inside (20.10 and newer)."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from dataclasses import replace

from lumper.build.engines.buildkit.api import ImageApi
from lumper.build.engines.buildkit.building import Building, close_context
from lumper.build.engines.buildkit.cache import cache_size
from lumper.build.engines.buildkit.link import EngineLink
from lumper.build.engines.buildkit.push.direct_push import DirectPush
from lumper.build.engines.buildkit.push_reader import PushReader
from lumper.build.engines.buildkit.request import CONTAINERD, MOBY, Exporter
from lumper.build.engines.buildkit.session.context import INCREMENTAL_FROM
from lumper.build.engines.buildkit.transport.address import Address, parse_address
from lumper.build.engines.push_step import FIRST_PUSH
from lumper.build.known_layers import KnownLayers
from lumper.build.port import BuildRequest, Capability, EngineInfo, Login, Pushed, Report
from lumper.build.target import OpenTarget
from lumper.errors import EngineError


class BuildKitEngine:
    """Builds over the Engine's `/grpc` and `/session`, two or three connections for each; pushes over its REST API.

    `address` is `unix:///path` or `tcp://host:port`; `frontend_time` is how long, in seconds, the engine may look for a
    syntax image: a firewall that swallows all must not hold it. With `open_target` images are pushed without the Engine
    where that is possible (`direct_push.py`); `known` is what is known of their layers. Streams of `incremental_from`
    bytes and more are sent file by file (`context.py`). Raises ConfigError.
    """

    def __init__(
        self,
        address: str | Address,
        *,
        frontend_time: float = 60.0,
        open_target: OpenTarget | None = None,
        known: KnownLayers | None = None,
        incremental_from: int = INCREMENTAL_FROM,
    ) -> None:
        self._link = EngineLink(parse_address(address) if isinstance(address, str) else address)
        self._building = Building(self._link, frontend_time, incremental_from)
        self._api = ImageApi(self._link.address)
        self._direct = DirectPush(self._api, open_target, known or KnownLayers()) if open_target else None
        self._with_containerd: bool | None = None
        self._push_numbers = itertools.count(FIRST_PUSH)

    async def info(self) -> EngineInfo:
        told = await self._api.info()
        if Capability.LIMITS in told.capabilities and not await asyncio.to_thread(self._building.can_limit):
            return replace(told, capabilities=told.capabilities - {Capability.LIMITS})
        return told

    async def build(self, request: BuildRequest, context: AsyncIterator[bytes], report: Report) -> None:
        try:
            exporter = await self._exporter()
            await self._building.run(request, context, report, exporter=exporter)
        except EngineError:
            self._with_containerd = None  # it may have come back with other settings
            raise
        finally:
            await close_context(context)

    async def _exporter(self) -> Exporter:
        if self._with_containerd is None:
            self._with_containerd = await self._api.with_containerd()
        return CONTAINERD if self._with_containerd else MOBY

    async def push(self, image: str, login: Login | None, report: Report) -> Pushed:
        reader = PushReader(image, next(self._push_numbers), report, time.time)
        with reader.under_way():
            if self._direct is not None and await self._direct.push(image, login, reader):
                return reader.result()
            return await self._api.push(image, login, reader)

    async def remove(self, image: str) -> None:
        await self._api.untag(image)

    async def images(self, prefix: str) -> list[str]:
        return [name for name in await self._api.names() if name.startswith(prefix)]

    async def cache_size(self) -> int:
        return await cache_size(self._link)

    async def prune(self, keep: int) -> int:
        return await self._building.prune(keep)

    async def close(self) -> None:
        if self._direct is not None:
            self._direct.close()
        await self._api.close()
