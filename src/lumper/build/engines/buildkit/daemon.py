"""The Engine of `build/port.py` on a buildkitd, which has no store of images: the worker keeps them in a folder.

A build ends when the image lies there, whole and checked. So a push, however often it is tried, needs neither the
daemon nor another build.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from grpclib.exceptions import GRPCError

from lumper.build.capabilities import CAPABILITIES
from lumper.build.engines.buildkit.building import BROKEN, Building
from lumper.build.engines.buildkit.cache import cache_size
from lumper.build.engines.buildkit.link import DaemonLink
from lumper.build.engines.buildkit.push.kept_images import KeptImages
from lumper.build.engines.buildkit.push.layout import Descriptor
from lumper.build.engines.buildkit.request import STORE
from lumper.build.engines.buildkit.session.content import Contents
from lumper.build.engines.buildkit.transport.address import Address
from lumper.build.port import BuildRequest, Capability, EngineInfo, Report
from lumper.build.target import OpenTarget
from lumper.errors import EngineError

_INFO_TIMEOUT = 30.0
_DIGEST = "containerimage.digest"  # what BuildKit's exporters call it


class DaemonEngine(KeptImages):
    """Builds on the buildkitd at `address`; `folder` keeps the images, `open_target` reaches registries."""

    def __init__(self, address: Address, folder: Path, open_target: OpenTarget, *, frontend_time: float = 60.0) -> None:
        super().__init__(folder, open_target)
        self._link = DaemonLink(address)
        self._building = Building(self._link, frontend_time)

    async def info(self) -> EngineInfo:
        control = self._link.control()
        try:
            async with control, asyncio.timeout(_INFO_TIMEOUT):
                await control.connect()
                workers = (await control.workers()).record
        except (GRPCError, *BROKEN) as exc:
            text = exc.message or "" if isinstance(exc, GRPCError) else exc
            raise self._link.address.unavailable(text) from exc
        if not workers or not workers[0].platforms:
            raise self._link.address.unavailable("it has no worker")
        own = workers[0].platforms[0]
        version = workers[0].BuildkitVersion.version or "?"
        known = CAPABILITIES["buildkitd"]
        if await asyncio.to_thread(self._building.can_limit):
            known |= {Capability.LIMITS}
        return EngineInfo("buildkit", f"buildkitd {version}", f"{own.OS}/{own.Architecture}", known)

    async def build(self, request: BuildRequest, context: AsyncIterator[bytes], report: Report) -> None:
        contents = Contents({"export": self._layout})
        try:
            answer = await self._building.run(request, context, report, exporter=STORE, more=[contents])
            descriptor = await asyncio.to_thread(self._described, answer.get(_DIGEST, ""))
            await asyncio.to_thread(self._layout.put, request.image, descriptor)
        except EngineError as exc:
            raise contents.failure or exc from exc
        finally:
            await asyncio.to_thread(contents.let_go)

    def _described(self, digest: str) -> Descriptor:
        size = self._layout.size(digest)
        if size is None:
            raise EngineError(f"The build engine told of an image {digest[:100]}, but did not send it.")
        return Descriptor(str(self._layout.manifest(digest).get("mediaType", "")), digest, size)

    async def cache_size(self) -> int:
        return await cache_size(self._link)

    async def prune(self, keep: int) -> int:
        return await self._building.prune(keep)

    async def close(self) -> None:
        """Nothing stays open between calls."""
