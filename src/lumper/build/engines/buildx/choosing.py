"""An engine that builds what it can, and has another one build what it lacks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import suppress

from lumper.build.capabilities import needs, refuse
from lumper.build.port import BuildRequest, Capability, Engine, EngineInfo, Login, Pushed, Report
from lumper.errors import EngineError, EngineUnavailable


class ChoosingEngine:
    """`first` builds whatever it can, `other`, which is known to have `more`, the rest.

    An image is pushed by the one that built it.
    """

    def __init__(self, first: Engine, other: Engine, more: frozenset[Capability]) -> None:
        self._more = more
        self._first = first
        self._other = other

    async def info(self) -> EngineInfo:
        """What both can together, also while `other` is not there: what needs it is then tried again later."""
        first = await self._first.info()
        try:
            beside = (await self._other.info()).version
        except EngineUnavailable as exc:
            beside = f"a builder that is not there: {exc.message}"
        return EngineInfo(first.name, f"{first.version}, and {beside}", first.platform, first.capabilities | self._more)

    async def build(self, request: BuildRequest, context: AsyncIterator[bytes], report: Report) -> None:
        engine = self._first
        if needed := needs(request):
            first = await self._first.info()
            if not first_may_build(needed, first.capabilities):
                refuse(request, await self._other.info())
                engine = self._other
        await engine.build(request, context, report)
        left = self._first if engine is self._other else self._other
        with suppress(EngineError):
            if request.image in await left.images(request.image):  # of an earlier build, not what the name means now
                await left.remove(request.image)

    async def push(self, image: str, login: Login | None, report: Report) -> Pushed:
        engine = self._other if image in await self._other.images(image) else self._first
        return await engine.push(image, login, report)

    async def remove(self, image: str) -> None:
        await self._other.remove(image)
        await self._first.remove(image)

    async def images(self, prefix: str) -> list[str]:
        return sorted({*await self._first.images(prefix), *await self._other.images(prefix)})

    async def cache_size(self) -> int:
        return sum(await self._sizes())

    async def _sizes(self) -> tuple[int, int]:
        first = await self._first.cache_size()
        try:
            return first, await self._other.cache_size()
        except EngineUnavailable:
            return first, 0

    async def prune(self, keep: int) -> int:
        sizes = await self._sizes()
        freed = 0
        for engine, size in zip((self._first, self._other), sizes, strict=True):
            if size:
                freed += await engine.prune(share(keep, size, sum(sizes)))
        return freed

    async def close(self) -> None:
        await self._first.close()
        await self._other.close()


def first_may_build(needed: Collection[Capability], capabilities: Collection[Capability]) -> bool:
    """Whether an engine has all that a build needs. Pure."""
    return set(needed) <= set(capabilities)


def share(keep: int, size: int, total: int) -> int:
    """How many of the bytes that may be kept are for a cache of this size, when all together have the total. Pure."""
    return keep * size // total if total else keep
