"""How much space repositories hold together."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import func, select, union_all

from lumper.model.globs import fits
from lumper.store.connection import AsyncConnection
from lumper.store.database import Database
from lumper.store.tables import manifests, repositories, repository_blobs

_EVERY = "**"


class UsageHistory:
    """Bytes by namespace."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def usage(self, repositories: str, without: Collection[str] = ()) -> int:
        """The bytes that the repositories fitting this glob hold; what several of them hold counts once.

        Those of the digests `without` do not count.
        """
        async with self._database.read() as connection:
            identities = await _fitting(connection, repositories)
            held = [
                select(table.c.digest, table.c.size)
                if identities is None
                else select(table.c.digest, table.c.size).where(table.c.repository_id.in_(identities))
                for table in (repository_blobs, manifests)
            ]
            each = union_all(*held).subquery()
            once = (
                select(func.max(each.c.size).label("size"))
                .where(each.c.digest.not_in(without))
                .group_by(each.c.digest)
                .subquery()
            )
            return int((await connection.execute(select(func.coalesce(func.sum(once.c.size), 0)))).scalar_one())

    async def holds(self, glob: str, digest: str) -> bool:
        """Whether one of the repositories fitting this glob has this blob or manifest."""
        async with self._database.read() as connection:
            for table in (repository_blobs, manifests):
                query = select(repositories.c.name).join(table).where(table.c.digest == digest)
                if any(fits(glob, name) for name in (await connection.execute(query)).scalars()):
                    return True
        return False


async def _fitting(connection: AsyncConnection, glob: str) -> Sequence[int] | None:
    """The ids of the repositories; None for all. They are looked for among those that begin as the glob does."""
    if glob == _EVERY:
        return None
    begin = glob.partition("*")[0]
    query = select(repositories.c.id, repositories.c.name).where(repositories.c.name.startswith(begin, autoescape=True))
    return [row.id for row in await connection.execute(query) if fits(glob, row.name)]
