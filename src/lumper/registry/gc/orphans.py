"""Bytes that nobody knows of, as a crash between storing and linking leaves them: the collector is told of them.

Every look is at one page of the storage, and gives a row to what has none; its time is that of the bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from lumper.logs import get_logger
from lumper.registry.port import Metadata, Storage
from lumper.registry.rebuild import Rebuilder, Rebuilt

_STEP = 5000  # blobs of the storage that are looked at together

log = get_logger(__name__)


class Orphans:
    """Goes over the storage page by page, round and round."""

    def __init__(self, storage: Storage, metadata: Metadata, rebuilder: Rebuilder) -> None:
        self._storage = storage
        self._metadata = metadata
        self._rebuilder = rebuilder
        self._last = ""  # digest of the page that was looked at

    async def adopt(self, before: datetime) -> None:
        """Make known what is older than `before` in the next page of the storage."""
        found = await self._storage.blobs(self._last, _STEP)
        if await self._strange(found, before) and await self._brought_back():
            await self._metadata.adopt_blobs(await self._strange(found, before))
        self._last = found[-1][0] if len(found) == _STEP else ""

    async def _strange(
        self, found: Sequence[tuple[str, int, datetime]], before: datetime
    ) -> list[tuple[str, int, datetime]]:
        known = await self._metadata.known_blobs(self._last, found[-1][0]) if found else {}
        return [one for one in found if one[0] not in known and one[2] < before]

    async def _brought_back(self) -> bool:
        """Before bytes are called nobody's: whether all that the storage names is known, if need be from now on.

        What a killed push has named is completed. A database that knows nothing at all is lost rather than right.
        """
        if not await self._metadata.repositories(limit=1):
            async for _ in self._storage.names():
                log.warning(
                    "the storage has images and the database knows none: nothing is given up",
                    action="registry.gc",
                    hint="Run lumper registry rebuild.",
                )
                return False
        done = Rebuilt()
        async for told_of in self._rebuilder.run(abandoned=True):
            done = told_of if isinstance(told_of, Rebuilt) else done
        if done.manifests or done.tags:
            log.warning(
                "what only the storage knew was brought back",
                action="registry.gc",
                manifests=done.manifests,
                tags=done.tags,
            )
        return True
