"""What no repository need keep, found and removed; the registry decides when, and what of it is in use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from sqlalchemy import Connection, ScalarSelect, select, update

from lumper.accounts.activity import record
from lumper.model.images.activity import RETENTION, Activity, AuditAction
from lumper.model.images.garbage import Garbage, GarbageKind, Sweep
from lumper.registry.catalog import needs
from lumper.registry.catalog import stored_blobs as stored
from lumper.registry.catalog.dropping import drop_links, drop_manifests, drop_stale_tags
from lumper.registry.catalog.garbage import needless_links, needless_manifests, restless, stale_tags
from lumper.registry.catalog.missing_content import flaws
from lumper.store import tables
from lumper.store.connection import AsyncConnection
from lumper.store.database import Database, changed, insert_missing
from lumper.store.statements import parts
from lumper.store.tables import manifests, repositories

TOPIC = "images"  # what `Database.on_change` hears, with the repository's name, when tags, manifests or blobs change


class Collection:
    """The part of the registry's metadata that gives up what is not needed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def touch(self, repository: str, digest: str, tags: Sequence[str] = ()) -> None:
        """The manifest and those of the tags that are there are as young as if they were pushed now."""
        now, mine = datetime.now(UTC), manifests.c.repository_id == id_of(repository)
        named = tables.tags.c.repository_id == id_of(repository), tables.tags.c.name.in_(tags)
        async with self._database.write() as connection:
            changed(connection, TOPIC, repository)
            await connection.execute(update(manifests).where(mine, manifests.c.digest == digest).values(pushed_at=now))
            await connection.execute(update(tables.tags).where(*named).values(updated_at=now))

    async def garbage(self, repository: str, sweep: Sweep, limit: int = 500) -> list[Garbage]:
        """What `repository` need not keep: at most `limit` of each kind."""
        async with self._database.read() as connection:
            identity = (await connection.execute(select(id_of(repository)))).scalar()
            if identity is None:
                return []
            stale = await stale_tags(connection, identity, sweep, limit)
            needless = await needless_manifests(connection, identity, sweep, limit)
            loose = await needless_links(connection, identity, sweep, limit)
        return [
            *(Garbage(GarbageKind.TAG, repository, name) for name in stale),
            *(Garbage(GarbageKind.MANIFEST, repository, digest, size) for digest, size in needless),
            *(Garbage(GarbageKind.LINK, repository, digest, size) for digest, size in loose),
        ]

    async def collect(self, repository: str, garbage: Sequence[Garbage], sweep: Sweep) -> list[Garbage]:
        """Remove what is still garbage, judged again in the transaction that removes it; what was removed."""
        names = {kind: [one.name for one in garbage if one.kind is kind] for kind in GarbageKind}
        gone: set[tuple[GarbageKind, str]] = set()
        sweep = replace(sweep, since=None)
        async with self._database.write() as connection:
            changed(connection, TOPIC, repository)
            identity = (await connection.execute(select(id_of(repository)))).scalar()
            if identity is None:
                return []
            for some in parts(names[GarbageKind.LINK]):
                loose = await needless_links(connection, identity, sweep, len(some), some)
                await drop_links(connection, identity, [digest for digest, _ in loose])
                gone |= {(GarbageKind.LINK, digest) for digest, _ in loose}
            for some in parts(names[GarbageKind.MANIFEST]):
                needless = await needless_manifests(connection, identity, sweep, len(some), some)
                await _tell_of_retired(connection, repository, identity, [digest for digest, _ in needless])
                await drop_manifests(connection, identity, [digest for digest, _ in needless])
                gone |= {(GarbageKind.MANIFEST, digest) for digest, _ in needless}
            for some in parts(names[GarbageKind.TAG]):
                stale = await stale_tags(connection, identity, sweep, len(some), some)
                await drop_stale_tags(connection, identity, stale)
                gone |= {(GarbageKind.TAG, name) for name in stale}
        return [one for one in garbage if (one.kind, one.name) in gone]

    async def restless(self, sweep: Sweep, last: str = "", limit: int = 100) -> list[str]:
        """Repositories in which `garbage` may find something."""
        async with self._database.read() as connection:
            return await restless(connection, sweep, last, limit)

    async def idle_blobs(
        self, before: datetime, *, after: str = "", limit: int = 500, since: datetime | None = None
    ) -> list[tuple[str, int]]:
        """Digest and size of what is in the storage for no repository any more."""
        async with self._database.read() as connection:
            return await stored.idle(connection, before, after, limit, since)

    async def claim_blobs(self, digests: Sequence[str], before: datetime, seconds: float) -> set[str]:
        """Those of these that are idle now: for so long no process will rely on one of them."""
        if not self._database.shared:
            async with self._database.read() as connection:
                return await stored.still_idle(connection, digests, before)
        async with self._database.write() as connection:
            idle = await stored.still_idle(connection, digests, before)
            await connection.run_sync(needs.claim, idle, seconds)
        return idle

    async def forget_blobs(self, digests: Sequence[str], before: datetime) -> None:
        """These are no longer in the storage. Those that are not idle (any more) stay known."""
        async with self._database.write() as connection:
            if self._database.shared:
                await needs.disclaim(connection, digests)
            await stored.forget(connection, digests, before)

    async def adopt_blobs(self, found: Sequence[tuple[str, int, datetime]]) -> int:
        """Digest, size and time of blobs in the storage: from now on none of them is unknown; how many were."""
        async with self._database.write() as connection:
            return await stored.adopt(connection, found)

    async def known_blobs(self, after: str = "", until: str = "") -> dict[str, tuple[int, bool]]:
        """What is in the storage after `after` and up to, with, `until` ("": all): its size, and if it is needed."""
        async with self._database.read() as connection:
            return await stored.known(connection, after, until)

    async def flaws(self, repository: str, limit: int = 1000) -> list[tuple[str, str]]:
        """What `repository` refers to and does not have: at most `limit` tags and digests of each kind, with words."""
        async with self._database.read() as connection:
            identity = (await connection.execute(select(id_of(repository)))).scalar()
            return [] if identity is None else await flaws(connection, identity, limit)


async def _tell_of_retired(connection: AsyncConnection, repository: str, identity: int, digests: Sequence[str]) -> None:
    """What retention gave up goes: that is told, while other garbage is nobody's loss."""
    mine = manifests.c.repository_id == identity, manifests.c.digest.in_(digests), manifests.c.retired
    retired = (await connection.execute(select(manifests.c.digest).where(*mine))).scalars()
    now = datetime.now(UTC)
    done = [Activity(now, AuditAction.DELETE, RETENTION, repository, digest=digest) for digest in retired]
    await connection.run_sync(record, done)


def id_of(repository: str) -> ScalarSelect[int]:
    """The id of a repository, as a part of other statements."""
    return select(repositories.c.id).where(repositories.c.name == repository).scalar_subquery()


async def repository_made(connection: AsyncConnection, name: str) -> int:
    """Like `repository_id`, for asynchronous transactions."""
    return await connection.run_sync(repository_id, name)


def repository_id(connection: Connection, name: str) -> int:
    """The id of the repository, which is made if need be."""
    identity = connection.execute(select(id_of(name))).scalar()
    if identity is None:  # or another process makes it in this moment
        row = {"name": name, "created_at": datetime.now(UTC)}
        connection.execute(insert_missing(connection, repositories), row)
        identity = connection.execute(select(id_of(name))).scalar_one()
    return int(identity)
