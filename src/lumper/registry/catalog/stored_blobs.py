"""The table of what lies in the storage: what of it is nobody's, and what has a row at all."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, delete, exists, insert, or_, select

from lumper.registry.catalog.needs import unneeded
from lumper.store.connection import AsyncConnection
from lumper.store.statements import parts
from lumper.store.tables import blobs, manifests, repository_blobs


async def idle(
    connection: AsyncConnection, before: datetime, after: str, limit: int, since: datetime | None = None
) -> list[tuple[str, int]]:
    """Digest and size of what lies in the storage for nobody; with `since`, of what was given up after this time."""
    name: ColumnElement[str] = blobs.c.digest
    query = select(blobs.c.digest, blobs.c.size).where(*_idle(before))
    if since is not None:
        query = query.where(blobs.c.stored_at >= since)
        name = name.concat("")  # its own index would lead past all blobs that there are
    rows = await connection.execute(query.where(name > after).order_by(name).limit(limit))
    return [(row.digest, row.size) for row in rows]


async def still_idle(connection: AsyncConnection, digests: Sequence[str], before: datetime) -> set[str]:
    """Those of these that lie in the storage for nobody, and that nobody has in hand."""
    found: set[str] = set()
    for some in parts(digests):
        found.update(
            (await connection.execute(select(blobs.c.digest).where(blobs.c.digest.in_(some), *_idle(before)))).scalars()
        )
    return found


async def forget(connection: AsyncConnection, digests: Sequence[str], before: datetime) -> None:
    """Forget what was idle and lies in the storage no longer."""
    for some in parts(digests):
        await connection.execute(delete(blobs).where(blobs.c.digest.in_(some), *_idle(before)))


async def adopt(connection: AsyncConnection, found: Sequence[tuple[str, int, datetime]]) -> int:
    """Make rows for blobs that have none; how many there were."""
    count = 0
    for some in parts(found):
        query = select(blobs.c.digest).where(blobs.c.digest.in_([digest for digest, _, _ in some]))
        known = set((await connection.execute(query)).scalars())
        rows = [{"digest": digest, "size": size, "stored_at": at} for digest, size, at in some if digest not in known]
        if rows:
            await connection.execute(insert(blobs), rows)
        count += len(rows)
    return count


async def known(connection: AsyncConnection, after: str, until: str) -> dict[str, tuple[int, bool]]:
    """Size of every blob in this range, and whether a repository needs it."""
    query = select(
        blobs.c.digest,
        blobs.c.size,
        or_(
            exists().where(repository_blobs.c.digest == blobs.c.digest),
            exists().where(manifests.c.digest == blobs.c.digest),
        ).label("needed"),
    ).where(blobs.c.digest > after)
    if until:
        query = query.where(blobs.c.digest <= until)
    return {row.digest: (row.size, bool(row.needed)) for row in await connection.execute(query)}


def _idle(before: datetime) -> list[ColumnElement[bool]]:
    return [
        blobs.c.stored_at < before,
        unneeded(blobs.c.digest),
        ~exists().where(repository_blobs.c.digest == blobs.c.digest),
        ~exists().where(manifests.c.digest == blobs.c.digest),
    ]
