"""Removes what the limits do not keep: logs of builds, never of one that has not ended, and raw deliveries."""

from __future__ import annotations

from datetime import UTC, datetime

from lumper.line.history import History
from lumper.line.logs.kept_logs import ended
from lumper.logs import get_logger
from lumper.model.builds.log_keeping import LogLimits, surplus

log = get_logger(__name__)

LOGS_SECONDS = 3600.0  # between two looks


class LogKeeper:
    """Holds all logs together within the limits."""

    def __init__(self, history: History, limits: LogLimits) -> None:
        self._history = history
        self._limits = limits

    async def tidy(self) -> int:
        """Remove what is too much; how many builds have lost their log."""
        if self._limits.deliveries:
            emptied = await self._history.deliveries.empty(datetime.now(UTC) - self._limits.deliveries)
            if emptied:
                log.info("old deliveries were emptied", action="deliveries.tidy", count=emptied)
        if not self._limits.age and not self._limits.size:
            return 0
        sizes = await self._history.logs.sizes()
        had = await ended(self._history.database, sizes)
        gone = surplus(had, sum(sizes.values()), datetime.now(UTC), self._limits)
        for one in gone:
            await self._history.logs.delete(one.build_id, one.attempt)
        if gone:
            log.info("old logs were removed", action="logs.tidy", count=len(gone), freed=sum(one.size for one in gone))
        return len(gone)
