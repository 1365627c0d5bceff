"""When each manifest was last asked for: noted in memory, written together every minute.

A crash loses what was noted since the last time; no pull waits for a disk.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime

from lumper.registry.port import RetentionMetadata

FLUSH_SECONDS = 60.0
_STEP = 500  # manifests of one transaction


class Pulls:
    """The pulls since the last `flush`: one entry a manifest, however often it is pulled."""

    def __init__(self, metadata: RetentionMetadata) -> None:
        self._metadata = metadata
        self._noted: dict[tuple[str, str], float] = {}

    def note(self, repository: str, digest: str) -> None:
        """This manifest, which is there, is asked for."""
        self._noted[repository, digest] = time.time()

    async def flush(self) -> None:
        """Write what was noted. What cannot be written is kept for the next time. Raises StorageError."""
        noted, self._noted = self._noted, {}
        try:
            while noted:
                some = list(noted)[:_STEP]
                await self._metadata.pulled({key: datetime.fromtimestamp(noted[key], UTC) for key in some})
                for key in some:
                    del noted[key]
        finally:
            self._noted = {**noted, **self._noted}
