"""Digests that somebody has in hand: pushes of any server process, or the collector of one of them.

A push that relies on a digest says so here before it looks whether that is there, and the collector of another process
claims here what it is about to delete. Both write in transactions that cannot happen at the same time, so either the
collector sees the need, or the push sees the claim, and waits until that is over. A row whose time has passed counts
for nothing: it was left by a process that was killed.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Float, and_, bindparam, case, delete, exists

from lumper.store.connection import AsyncConnection
from lumper.store.database import epoch, insert_of
from lumper.store.statements import parts
from lumper.store.tables import needs


def need(connection: Connection, digests: Collection[str], seconds: float) -> set[str]:
    """Let these be needed for so long at least; returns those that are claimed, which are not needed now either."""
    if not digests:
        return set()
    rows = [{"one": digest, "seconds": seconds} for digest in sorted(digests)]
    return set(digests) - set(connection.execute(_needing(connection.dialect.name), rows).scalars())


def claim(connection: Connection, digests: Collection[str], seconds: float) -> None:
    """Let these, which nobody needs, be the collector's for so long."""
    rows = [{"one": digest, "seconds": seconds} for digest in sorted(digests)]
    if rows:
        connection.execute(_claiming(connection.dialect.name), rows)


async def disclaim(connection: AsyncConnection, digests: Sequence[str]) -> None:
    """What was claimed may be needed again. What nobody needs any more is forgotten with it."""
    for some in parts(digests):
        await connection.execute(delete(needs).where(needs.c.digest.in_(some), needs.c.claimed))
    await connection.execute(delete(needs).where(needs.c.until < epoch()))


def unneeded(digest: ColumnElement[str]) -> ColumnElement[bool]:
    """That nobody has this digest in hand."""
    return ~exists().where(needs.c.digest == digest, needs.c.until > epoch())


@functools.cache  # building one takes longer than executing it
def _needing(dialect: str) -> Any:
    """Tells for each digest that it is needed, and returns it, unless it is claimed."""
    row, until = _row(dialect, claimed=False)
    free = ~and_(needs.c.claimed, needs.c.until > epoch())
    telling = row.on_conflict_do_update(index_elements=["digest"], set_={"until": until, "claimed": False}, where=free)
    return telling.returning(needs.c.digest)


@functools.cache
def _claiming(dialect: str) -> Any:
    row, until = _row(dialect, claimed=True)
    return row.on_conflict_do_update(index_elements=["digest"], set_={"until": until, "claimed": True})


def _row(dialect: str, *, claimed: bool) -> tuple[Any, Any]:
    """A row, and until when it holds if there is one for this digest already: the later of both."""
    row = insert_of(dialect, needs)
    row = row.values(digest=bindparam("one"), until=epoch() + bindparam("seconds", type_=Float), claimed=claimed)
    return row, case((needs.c.until > row.excluded.until, needs.c.until), else_=row.excluded.until)
