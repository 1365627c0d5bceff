"""Of which builds the logs may go: those that have ended."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import select

from lumper.history.builds import build_from_row
from lumper.history.database import Database
from lumper.history.statements import parts
from lumper.history.tables import builds
from lumper.model.log_keeping import KeptLog


async def ended(database: Database, sizes: Mapping[int, int]) -> list[KeptLog]:
    """Those of the builds with logs of these sizes that have ended. Raises StorageError."""
    found = []
    for some in parts(sorted(sizes)):
        async with database.read() as connection:
            rows = await connection.execute(select(builds).where(builds.c.id.in_(some)))
            for build in map(build_from_row, rows):
                if build.state.final:
                    at = build.finished_at or build.created_at
                    found.append(KeptLog(build.id, build.attempt, sizes[build.id], at))
    return found
