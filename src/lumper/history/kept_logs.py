"""Of which builds the logs may go: those that have ended."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import select

from lumper.history.builds import build_from_row
from lumper.history.database import Database
from lumper.history.tables import builds
from lumper.model.log_keeping import KeptLog

_AT_ONCE = 500  # ids in one query


async def ended(database: Database, sizes: Mapping[int, int]) -> list[KeptLog]:
    """Those of the builds with logs of these sizes that have ended. Raises StorageError."""
    found, ids = [], sorted(sizes)
    for first in range(0, len(ids), _AT_ONCE):
        some = ids[first : first + _AT_ONCE]
        async with database.read() as connection:
            rows = await connection.execute(select(builds).where(builds.c.id.in_(some)))
            for build in map(build_from_row, rows):
                if build.state.final:
                    at = build.finished_at or build.created_at
                    found.append(KeptLog(build.id, build.attempt, sizes[build.id], at))
    return found
