"""What a worker does beside its builds, so that its machine does not fill up: old mirrors, cache and names go."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field

from lumper.build.run import Builder
from lumper.build.source.mirror_keeping import MirrorLimits
from lumper.logs import get_logger
from lumper.model.images.image import PRIVATE_PREFIX

log = get_logger(__name__)

_SLACK = 10  # a cache that is too large is cut by one part of so many below its limit, so that it has room to grow


@dataclass(frozen=True)
class UpkeepLimits:
    """What mirrors may take, and how many bytes the engine's cache. 0: no limit."""

    mirrors: MirrorLimits = field(default_factory=MirrorLimits)
    engine_disk: int = 0


class Upkeep:
    """The chores of one worker.

    `held` tells the private tags of the attempts that it works on, `left` are those that it worked on when it was
    killed.
    """

    def __init__(
        self,
        builder: Builder,
        limits: UpkeepLimits,
        held: Callable[[], Collection[str]],
        left: Collection[str] = (),
    ) -> None:
        self._builder = builder
        self._limits = limits
        self._held = held
        self._left = frozenset(left)
        self._seen: dict[str, float] = {}  # names in the engine that are not ours, and since when

    def chores(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """What is to be done again and again, by its name; each raises LumperError."""
        return {
            "worker.names": self.forget_names,
            "worker.mirrors": self.prune_mirrors,
            "worker.engine_disk": self.prune_engine,
        }

    async def prune_mirrors(self) -> None:
        """Let mirrors go that are too old or too many. Raises StorageError."""
        await self._builder.mirrors.prune(self._limits.mirrors)

    async def prune_engine(self) -> None:
        """Hold the engine's cache to its limit. Raises EngineError."""
        limit = self._limits.engine_disk
        if not limit or (size := await self._builder.engine.cache_size()) <= limit:
            return
        freed = await self._builder.engine.prune(limit - limit // _SLACK)
        log.info("the engine's cache was pruned", action="engine.prune", size=size, freed=freed, limit=limit)

    async def forget_names(self) -> None:
        """Remove names that attempts left in the engine. Raises EngineError.

        Those of this worker go at once. Another worker at the same engine may be at work on any other one, so that it
        must have been there for longer than an attempt takes.
        """
        now = time.monotonic()
        patience = self._builder.timeout + self._builder.push_timeout
        self._seen = {name: self._seen.get(name, now) for name in await self._names()}
        for name, since in self._seen.items():
            if now - since >= patience or name.rpartition(":")[2] in self._left:
                log.info("a name that was left goes", action="engine.forget", image=name)
                await self._builder.engine.remove(name)

    async def _names(self) -> list[str]:
        names = await self._builder.engine.images(f"{self._builder.registry}/")
        held = self._held()  # asked last: whatever has a name now and is not held has ended
        tags = {name: name.rpartition(":")[2] for name in names}
        return [name for name, tag in tags.items() if tag.startswith(PRIVATE_PREFIX) and tag not in held]
