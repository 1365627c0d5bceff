"""Of which builds the logs may go: those that have ended, or went with their project."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import UTC, datetime

from sqlalchemy import select

from lumper.line.builds.builds import build_from_row
from lumper.model.builds.log_keeping import KeptLog
from lumper.store.database import Database
from lumper.store.statements import parts
from lumper.store.tables import builds

_LONG_AGO = datetime.min.replace(tzinfo=UTC)


async def ended(database: Database, sizes: Mapping[int, int]) -> list[KeptLog]:
    """Those of the builds with logs of these sizes that have ended; long ago, if nothing else is left of them.

    Raises StorageError.
    """
    found = []
    for some in parts(sorted(sizes)):
        async with database.read() as connection:
            rows = await connection.execute(select(builds).where(builds.c.id.in_(some)))
            known = {row.id: build_from_row(row) for row in rows}
        found += [KeptLog(number, sys.maxsize, sizes[number], _LONG_AGO) for number in some if number not in known]
        for build in known.values():
            if build.state.final:
                at = build.finished_at or build.created_at
                found.append(KeptLog(build.id, build.attempt, sizes[build.id], at))
    return found
