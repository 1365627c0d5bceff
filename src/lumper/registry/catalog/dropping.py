"""Tags, manifests and links to blobs taken out of the tables of images, with what goes along with them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import ColumnElement, Select, and_, delete, exists, or_, select, update

from lumper.model.images.image import STATEMENTS, tags_beside
from lumper.registry.catalog.renames import rename
from lumper.store.connection import AsyncConnection
from lumper.store.statements import parts
from lumper.store.tables import blobs, builds, manifest_links, manifests, repository_blobs, tags


async def drop_stale_tags(connection: AsyncConnection, identity: int, names: Sequence[str]) -> None:
    """Remove private tags; what they point at and no build has given has no other use, unless it is tagged again."""
    for some in parts(names):
        mine = and_(tags.c.repository_id == identity, tags.c.name.in_(some))
        by_name = select(tags.c.digest).where(mine).order_by(tags.c.name)  # or SQLite reads the index of digests whole
        held = list({*(await connection.execute(by_name)).scalars()})
        await connection.execute(delete(tags).where(mine))
        given = exists().where(builds.c.digest == manifests.c.digest)
        await _abandon(connection, identity, and_(manifests.c.digest.in_(held), ~given))


async def drop_manifests(connection: AsyncConnection, identity: int, digests: Sequence[str]) -> int:
    """Remove manifests with their tags; how many. What only they kept is young again, for who still reads it.

    The tags that say something of them go too, and from now on nobody has a use for what these pointed at, nor for
    signatures and attestations of them.
    """
    count = 0
    now = datetime.now(UTC)
    for some in parts(digests):
        mine = and_(manifests.c.repository_id == identity, manifests.c.digest.in_(some))
        unwanted = select(manifests.c.digest).where(mine, or_(manifests.c.abandoned, manifests.c.retired))
        abandoned = list((await connection.execute(unwanted)).scalars())
        await _rejuvenate(connection, identity, some, now)
        if abandoned:
            await _abandon(connection, identity, _needed_by(identity, abandoned))
        await _drop_statements(connection, identity, some)
        pointing = select(tags.c.name).where(tags.c.repository_id == identity, tags.c.digest.in_(some))
        await rename(connection, identity, [*some, *(await connection.execute(pointing)).scalars()])
        for table, column in ((tags, tags.c.digest), (manifest_links, manifest_links.c.parent)):
            await connection.execute(delete(table).where(table.c.repository_id == identity, column.in_(some)))
        count += (await connection.execute(delete(manifests).where(mine))).rowcount
        await _given_up(connection, some, now)
    return count


async def _rejuvenate(connection: AsyncConnection, identity: int, digests: Sequence[str], now: datetime) -> None:
    """What these manifests need, and what says something of them, is as young as if it came now."""
    mine = repository_blobs.c.repository_id == identity, repository_blobs.c.digest.in_(_children(identity, digests))
    await connection.execute(update(repository_blobs).where(*mine).values(linked_at=now))
    theirs = manifests.c.repository_id == identity, _needed_by(identity, digests)
    await connection.execute(update(manifests).where(*theirs).values(pushed_at=now))


def _needed_by(identity: int, digests: Sequence[str]) -> ColumnElement[bool]:
    return or_(manifests.c.digest.in_(_children(identity, digests)), manifests.c.subject.in_(digests))


def _children(identity: int, digests: Sequence[str]) -> Select[str]:
    links = manifest_links.c
    return select(links.child).where(links.repository_id == identity, links.parent.in_(digests))


async def _drop_statements(connection: AsyncConnection, identity: int, digests: Sequence[str]) -> None:
    for names in parts([name for digest in digests for name in tags_beside(digest)]):
        mine = tags.c.repository_id == identity, tags.c.name.in_(names)
        gone = (await connection.execute(delete(tags).where(*mine).returning(tags.c.name, tags.c.digest))).all()
        await rename(connection, identity, [row.name for row in gone])
        await _abandon(connection, identity, manifests.c.digest.in_({row.digest for row in gone}))
    theirs = and_(manifests.c.subject.in_(digests), manifests.c.artifact_type.in_(STATEMENTS))
    await _abandon(connection, identity, theirs)


async def drop_links(connection: AsyncConnection, identity: int, digests: Sequence[str]) -> int:
    """The repository no longer serves these blobs; how many it did."""
    count = 0
    now = datetime.now(UTC)
    for some in parts(digests):
        mine = and_(repository_blobs.c.repository_id == identity, repository_blobs.c.digest.in_(some))
        count += (await connection.execute(delete(repository_blobs).where(mine))).rowcount
        await _given_up(connection, some, now)
    return count


async def _abandon(connection: AsyncConnection, identity: int, which: ColumnElement[bool]) -> None:
    await connection.execute(
        update(manifests).where(manifests.c.repository_id == identity, which).values(abandoned=True)
    )


async def _given_up(connection: AsyncConnection, digests: Sequence[str], now: datetime) -> None:
    await connection.execute(update(blobs).where(blobs.c.digest.in_(digests)).values(stored_at=now))
