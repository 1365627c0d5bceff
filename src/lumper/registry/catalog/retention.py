"""What retention asks for and does: the state of tags, when they were pulled, and giving them up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from sqlalchemy import and_, bindparam, delete, exists, select, tuple_, update

from lumper.accounts.activity import record
from lumper.model.images.activity import RETENTION, Activity, AuditAction
from lumper.model.images.image import TagState
from lumper.registry.catalog.collection import TOPIC, id_of
from lumper.registry.catalog.in_use import in_use
from lumper.registry.catalog.overview import public
from lumper.registry.catalog.renames import rename
from lumper.registry.catalog.rules import rules_in
from lumper.store.connection import AsyncConnection
from lumper.store.database import Database, changed
from lumper.store.tables import manifest_links, manifests, repositories, tags


class RetentionHistory:
    """Tags as retention sees them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def tag_states(
        self,
        repository: str,
        *,
        after: tuple[str, str] = ("", ""),
        among: Sequence[str] | None = None,
        pulls: bool = True,
        limit: int = 500,
    ) -> list[TagState]:
        """At most `limit` public tags after this digest and name, in this order, with the last pull if `pulls`.

        Only those that point at one of at most 600 digests `among`, if these are given.
        """
        mine = tags.c
        one = among[0] if among is not None and len(among) == 1 else ""  # which may have most tags of the repository
        if one and after[0] > one:
            return []
        # among a few digests, the index in this order would lead past all tags
        digest = mine.digest if among is None or one else mine.digest.concat("")
        behind = tuple_(digest, mine.name) > tuple_(*after)
        if one:
            behind = and_(mine.digest == one, mine.name > (after[1] if after[0] == one else ""))
        query = (
            select(mine.name, mine.digest, mine.updated_at)
            .where(mine.repository_id == id_of(repository), behind, public())
            .order_by(digest, mine.name)
            .limit(limit)
        )
        if pulls:  # without them, the index has all that is asked for
            here = and_(manifests.c.repository_id == mine.repository_id, manifests.c.digest == mine.digest)
            query = query.join(manifests, here).add_columns(manifests.c.pulled_at)
        if among is not None and not one:
            query = query.where(mine.digest.in_(among))
        async with self._database.read() as connection:
            return [TagState(*row) for row in await connection.execute(query)]

    async def states_of(self, repository: str, names: Sequence[str]) -> list[TagState]:
        """Those of at most 600 public tags that are there, in lexical order, without the last pull."""
        mine = tags.c
        query = (
            select(mine.name, mine.digest, mine.updated_at)
            .where(mine.repository_id == id_of(repository), mine.name.in_(names), public())
            .order_by(mine.name)  # or SQLite reads the whole index of digests instead
        )
        async with self._database.read() as connection:
            return [TagState(*row) for row in await connection.execute(query)]

    async def in_use(self) -> dict[str, str]:
        """The digests that are in use, and why."""
        async with self._database.read() as connection:
            return await in_use(connection)

    async def pulled(self, pulls: Mapping[tuple[str, str], datetime]) -> None:
        """When manifests were pulled last, by repository and digest; the indexes that they are part of were, too."""
        name = select(repositories.c.id).where(repositories.c.name == bindparam("name")).scalar_subquery()
        here = update(manifests).where(manifests.c.repository_id == name).values(pulled_at=bindparam("at"))
        links = manifest_links.c
        above = select(links.parent).where(
            links.repository_id == name, links.child == bindparam("which"), links.manifest
        )
        rows = [{"name": name, "which": digest, "at": at} for (name, digest), at in pulls.items()]
        async with self._database.write() as connection:
            await connection.execute(here.where(manifests.c.digest == bindparam("which")), rows)
            await connection.execute(here.where(manifests.c.digest.in_(above)), rows)

    async def retire(self, repository: str, states: Sequence[TagState], why: str) -> list[str]:
        """Remove those of the tags that are still as they were, neither immutable nor needed; their names.

        A manifest that loses its last tag by this is given up.
        """
        now = datetime.now(UTC)
        async with self._database.write() as connection:
            identity = (await connection.execute(select(id_of(repository)))).scalar()
            if identity is None:
                return []
            freezing = (await rules_in(connection)).freezing(repository)
            used = await in_use(connection)
            free = [
                state
                for state in states
                if state.digest not in used and not (freezing and freezing.freezes(state.name))
            ]
            gone = [state for state in free if await _removed(connection, identity, state)]
            done = [
                Activity(now, AuditAction.UNTAG, RETENTION, repository, state.name, before=state.digest, detail=why)
                for state in gone
            ]
            await connection.run_sync(record, done)
            await rename(connection, identity, [state.name for state in gone])
            await _give_up(connection, identity, sorted({state.digest for state in gone}), now)
            changed(connection, TOPIC, repository)
        return [state.name for state in gone]


async def _removed(connection: AsyncConnection, identity: int, state: TagState) -> bool:
    mine = tags.c.repository_id == identity, tags.c.name == state.name
    same = tags.c.digest == state.digest, tags.c.updated_at == state.updated_at
    return (await connection.execute(delete(tags).where(*mine, *same))).rowcount > 0


async def _give_up(connection: AsyncConnection, identity: int, digests: Sequence[str], now: datetime) -> None:
    tagged = exists().where(tags.c.repository_id == identity, tags.c.digest == manifests.c.digest)
    await connection.execute(
        update(manifests)
        .where(manifests.c.repository_id == identity, manifests.c.digest.in_(digests), ~tagged)
        .values(retired=True, pushed_at=now)
    )
