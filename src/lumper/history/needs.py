"""Digests that somebody has in hand: pushes of any server process, or the collector of one of them.

A push that relies on a digest says so here before it looks whether that is there, and the collector of another process
claims here what it is about to delete. Both write in transactions that cannot happen at the same time, so either the
collector sees the need, or the push sees the claim, and waits until that is over. A row whose time has passed counts
for nothing: it was left by a process that was killed.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import ColumnElement, Connection, bindparam, case, delete, exists, select

from lumper.history.connection import AsyncConnection
from lumper.history.database import epoch, insert_or
from lumper.history.tables import needs

_TOGETHER = 500  # SQLite takes 999 parameters, in its older builds


def need(connection: Connection, digests: Collection[str], seconds: float) -> set[str]:
    """Let these be needed for so long at least; returns those that are claimed, which are not needed now either."""
    ordered = sorted(digests)
    claimed: set[str] = set()
    for some in _parts(ordered):
        query = select(needs.c.digest).where(needs.c.digest.in_(some), needs.c.claimed, needs.c.until > epoch())
        claimed.update(connection.execute(query).scalars())
    free = [digest for digest in ordered if digest not in claimed]
    _write(connection, free, seconds, claimed=False)
    return claimed


def claim(connection: Connection, digests: Collection[str], seconds: float) -> None:
    """Let these, which nobody needs, be the collector's for so long."""
    _write(connection, sorted(digests), seconds, claimed=True)


async def disclaim(connection: AsyncConnection, digests: Sequence[str]) -> None:
    """What was claimed may be needed again. What nobody needs any more is forgotten with it."""
    for some in _parts(digests):
        await connection.execute(delete(needs).where(needs.c.digest.in_(some), needs.c.claimed))
    await connection.execute(delete(needs).where(needs.c.until < epoch()))


def unneeded(digest: ColumnElement[str]) -> ColumnElement[bool]:
    """That nobody has this digest in hand."""
    return ~exists().where(needs.c.digest == digest, needs.c.until > epoch())


def _write(connection: Connection, digests: Sequence[str], seconds: float, *, claimed: bool) -> None:
    if not digests:
        return
    until = epoch() + seconds
    row = insert_or(connection, needs).values(digest=bindparam("one"), until=until, claimed=claimed)
    longer = case((needs.c.until > row.excluded.until, needs.c.until), else_=row.excluded.until)
    statement = row.on_conflict_do_update(index_elements=["digest"], set_={"until": longer, "claimed": claimed})
    connection.execute(statement, [{"one": digest} for digest in digests])


def _parts(digests: Sequence[str]) -> list[Sequence[str]]:
    return [digests[start : start + _TOGETHER] for start in range(0, len(digests), _TOGETHER)]
