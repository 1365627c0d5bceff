"""Tells the collectors of other processes, through the shared metadata, what this process relies on."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Collection

from lumper.errors import StorageError
from lumper.registry.port import GarbageMetadata

_REMEMBERED = 65_536  # digests
_AT_WORK = 20.0  # seconds for which a request needs at least what it works with, unless the grace is quite short
_PART = 0.25  # of them: how often it is told again, and how long before its end the request is given up
_PATIENCE = 0.05  # seconds between two looks whether a collector is done


class Needs:
    """Tells each need once for a while, so that what many ask for costs a write to the database now and then only."""

    def __init__(self, metadata: GarbageMetadata, grace: float) -> None:
        self._metadata = metadata
        self._grace = grace
        self._at_work = min(_AT_WORK, 2 * grace)
        self._until: OrderedDict[tuple[str, str], float] = OrderedDict()

    def known(self, repository: str, digest: str) -> bool:
        """Whether the others know that clients of this process rely on it for the grace period."""
        return self._until.get((repository, digest), 0.0) >= time.monotonic() + self._grace

    async def rely(self, repository: str, digest: str) -> None:
        """Tell that a client is about to be told that this is there. Waits for a collector that deletes it."""
        await self._tell(repository, [digest], self._grace, 1.5 * self._grace)

    @contextlib.asynccontextmanager
    async def using(self, repository: str, digests: Collection[str]) -> AsyncIterator[None]:
        """None of these is collected by another process during the block.

        Raises StorageError, and ends the block, when that cannot be told for too long.
        """
        await self._tell(repository, digests, self._at_work, 2 * self._at_work)
        try:
            async with asyncio.timeout(self._at_work * (1 - _PART)) as limit:
                renewing = asyncio.create_task(self._renew(repository, digests, limit))
                try:
                    yield
                finally:
                    renewing.cancel()
        except TimeoutError as exc:
            if not limit.expired():
                raise
            raise StorageError("The database did not answer for too long during a push.") from exc

    async def _renew(self, repository: str, digests: Collection[str], limit: asyncio.Timeout) -> None:
        while True:
            await asyncio.sleep(self._at_work * _PART)
            begun = asyncio.get_running_loop().time()
            with contextlib.suppress(StorageError):
                await self._metadata.need(repository, digests, 2 * self._at_work)
                limit.reschedule(begun + self._at_work * (2 - _PART))

    async def _tell(self, repository: str, digests: Collection[str], least: float, seconds: float) -> None:
        now = time.monotonic()
        fresh = {one for one in digests if self._until.get((repository, one), 0.0) < now + least}
        while fresh:
            begun = time.monotonic()
            claimed = await self._metadata.need(repository, fresh, seconds)
            for one in fresh - claimed:
                self._until[repository, one] = begun + seconds
                self._until.move_to_end((repository, one))
            while len(self._until) > _REMEMBERED:
                self._until.popitem(last=False)
            fresh = claimed
            if fresh:
                await asyncio.sleep(_PATIENCE)
