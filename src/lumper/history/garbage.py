"""Garbage in the tables of images: the queries that find it and the statements that remove it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TypeVar

from sqlalchemy import (
    Boolean,
    ColumnElement,
    String,
    and_,
    delete,
    exists,
    insert,
    literal,
    literal_column,
    or_,
    select,
    text,
    type_coerce,
    update,
)

from lumper.history.columns import Time
from lumper.history.connection import AsyncConnection
from lumper.history.needed import needed
from lumper.history.needs import unneeded
from lumper.history.renames import rename
from lumper.history.tables import (
    activity,
    blobs,
    builds,
    manifest_links,
    manifests,
    repositories,
    repository_blobs,
    rollouts,
    tags,
    verifications,
)
from lumper.model.build import BuildState
from lumper.model.image import PRIVATE_PREFIX, STATEMENTS, build_of, tags_beside
from lumper.model.verification import Verified

_T = TypeVar("_T")
_TOGETHER = 500  # SQLite takes 999 parameters, in its older builds
# PRIVATE_PREFIX as a range, which the index of the names knows
_PRIVATE = tags.c.name >= PRIVATE_PREFIX, tags.c.name < PRIVATE_PREFIX[:-1] + chr(ord(PRIVATE_PREFIX[-1]) + 1)
_CHILDREN = manifest_links.alias("children")
_SUBJECTS = manifests.alias("subjects")


async def touch(connection: AsyncConnection, identity: int, digest: str, names: Sequence[str]) -> None:
    """Make a manifest and tags young again."""
    now = datetime.now(UTC)
    mine = and_(manifests.c.repository_id == identity, manifests.c.digest == digest)
    await connection.execute(update(manifests).where(mine).values(pushed_at=now))
    named = and_(tags.c.repository_id == identity, tags.c.name.in_(names))
    await connection.execute(update(tags).where(named).values(updated_at=now))


async def stale_tags(
    connection: AsyncConnection, identity: int, before: datetime, limit: int, among: Sequence[str] | None = None
) -> list[str]:
    """Private tags, older than `before`, of builds that have ended or are forgotten; `among` these, if given."""
    query = (
        select(tags.c.name)
        .where(
            tags.c.repository_id == identity,
            *_PRIVATE,
            tags.c.updated_at < before,
        )
        .order_by(tags.c.name)
    )
    if among is not None:
        query = query.where(tags.c.name.in_(among))
    found = {name: build_of(name) for name in (await connection.execute(query)).scalars()}
    live: set[int] = set()
    numbers = sorted({number for number in found.values() if number is not None})
    for some in parts(numbers):
        going_on = select(builds.c.id).where(
            builds.c.id.in_(some), builds.c.state.not_in([state.value for state in BuildState if state.final])
        )
        compared = select(verifications.c.by_id).where(
            verifications.c.by_id.in_(some), verifications.c.state == Verified.COMPARING.value
        )
        for query in (going_on, compared):
            live.update((await connection.execute(query)).scalars())
    return [name for name, number in found.items() if number is not None and number not in live][:limit]


async def needless_manifests(
    connection: AsyncConnection,
    identity: int,
    before: datetime,
    limit: int,
    *,
    untagged: bool,
    left: datetime | None = None,
    among: Sequence[str] | None = None,
    since: datetime | None = None,
) -> list[tuple[str, int]]:
    """Digest and size of the manifests that nothing keeps, and that no tag `left` since; `among` these, if given.

    With `since`, of those that were needed after this time, that retention or a build gave up, or that lost a tag and
    the time to undo that since.
    """
    mine = manifests.c
    unused = and_(~exists().where(builds.c.digest == mine.digest), ~exists().where(rollouts.c.digest == mine.digest))
    if not untagged:
        unused = and_(unused, mine.abandoned)
    query = select(mine.digest, mine.size).where(
        mine.repository_id == identity,
        unneeded(mine.digest),
        ~exists().where(tags.c.repository_id == identity, tags.c.digest == mine.digest),
        ~exists().where(_CHILDREN.c.repository_id == identity, _CHILDREN.c.child == mine.digest, _CHILDREN.c.manifest),
        ~exists().where(_SUBJECTS.c.repository_id == identity, mine.subject != "", _SUBJECTS.c.digest == mine.subject),
        or_(unused, and_(mine.retired, mine.digest.not_in(await _needed(connection, identity)))),
    )
    if left is not None:
        query = query.where(~_left_since(identity, mine.digest, left))
    if among is not None:
        query = query.where(mine.digest.in_(among))
    if since is None:
        whole = query.where(mine.pushed_at < before).order_by(mine.digest)
        rows = list((await connection.execute(whole.limit(limit))).all())
    else:  # one after the other: each has its index
        young = query.where(mine.pushed_at >= since, mine.pushed_at < before)
        rows = list((await connection.execute(young.limit(limit))).all())
        at = type_coerce(mine.pushed_at.op("||")(literal("", String)), Time)  # the index of times has nearly all rows
        given_up = query.where(at < since, or_(mine.retired, mine.abandoned))
        rows += (await connection.execute(given_up.limit(limit))).all()
        if untagged:
            name = select(repositories.c.name).where(repositories.c.id == identity).scalar_subquery()
            lost = select(activity.c.before).where(activity.c.repository == name, *_lost(since, before, left))
            alone = query.where(mine.digest.in_(lost), mine.pushed_at < since)
            rows += (await connection.execute(alone.limit(limit))).all()
    return [*{row.digest: row.size for row in rows}.items()][:limit]


async def _needed(connection: AsyncConnection, identity: int) -> list[str]:
    """What runs or was built last, if there is anything in the repository that may go although it once was needed."""
    retired = exists().where(manifests.c.repository_id == identity, manifests.c.retired)
    return list(await needed(connection)) if (await connection.execute(select(retired))).scalar() else []


def _lost(since: datetime, before: datetime, left: datetime | None) -> list[ColumnElement[bool]]:
    """That a tag left something so long ago that the time to undo it, if there is one, was over within these times."""
    until = before if left is None else left
    return [literal_column("before != ''", Boolean), activity.c.at >= until - (before - since), activity.c.at < until]


def _left_since(identity: int, digest: ColumnElement[str], since: datetime) -> ColumnElement[bool]:
    told = activity.c
    name = select(repositories.c.name).where(repositories.c.id == identity).scalar_subquery()
    return exists().where(  # the second condition is word for word that of the index
        told.repository == name, text("before != ''"), told.before == digest, told.at >= since
    )


async def needless_links(
    connection: AsyncConnection,
    identity: int,
    before: datetime,
    limit: int,
    among: Sequence[str] | None = None,
    since: datetime | None = None,
) -> list[tuple[str, int]]:
    """Digest and size of the blobs that no manifest of the repository refers to; `among` these, if given.

    With `since`, of those that were linked, or lost what referred to them, after this time.
    """
    mine = repository_blobs.c
    query = select(mine.digest, mine.size).where(
        mine.repository_id == identity,
        mine.linked_at < before,
        unneeded(mine.digest),
        ~exists().where(_CHILDREN.c.repository_id == identity, _CHILDREN.c.child == mine.digest),
    )
    if among is not None:
        query = query.where(mine.digest.in_(among))
    query = query.order_by(mine.digest) if since is None else query.where(mine.linked_at >= since)
    return [(row.digest, row.size) for row in await connection.execute(query.limit(limit))]


async def restless(
    connection: AsyncConnection,
    since: datetime,
    before: datetime,
    last: str,
    limit: int,
    *,
    untagged: bool,
    left: datetime | None,
) -> list[str]:
    """Repositories of which anything was last needed between these times, or that retention or a build had to do with.

    With `untagged`, also those of which a tag has left anything. Whatever else loses what it was needed for is as young
    as that moment, so the rest was judged when it came of age.
    """
    pushed, linked = manifests.c, repository_blobs.c
    mine, lost = repositories.c.id, _lost(since, before, left)
    query = select(repositories.c.name).where(
        repositories.c.name > last,
        or_(
            exists().where(pushed.repository_id == mine, pushed.pushed_at >= since, pushed.pushed_at < before),
            exists().where(linked.repository_id == mine, linked.linked_at >= since, linked.linked_at < before),
            exists().where(pushed.repository_id == mine, or_(pushed.retired, pushed.abandoned)),
            exists().where(tags.c.repository_id == mine, *_PRIVATE),
            *([exists().where(activity.c.repository == repositories.c.name, *lost)] if untagged else []),
        ),
    )
    return list((await connection.execute(query.order_by(repositories.c.name).limit(limit))).scalars())


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
        abandoned = list(
            (
                await connection.execute(
                    select(manifests.c.digest).where(mine, or_(manifests.c.abandoned, manifests.c.retired))
                )
            ).scalars()
        )
        theirs = select(manifest_links.c.child).where(
            manifest_links.c.repository_id == identity, manifest_links.c.parent.in_(some)
        )
        await connection.execute(
            update(repository_blobs)
            .where(repository_blobs.c.repository_id == identity, repository_blobs.c.digest.in_(theirs))
            .values(linked_at=now)
        )
        await connection.execute(
            update(manifests)
            .where(
                manifests.c.repository_id == identity,
                or_(manifests.c.digest.in_(theirs), manifests.c.subject.in_(some)),
            )
            .values(pushed_at=now)
        )
        if abandoned:
            of_abandoned = select(manifest_links.c.child).where(
                manifest_links.c.repository_id == identity, manifest_links.c.parent.in_(abandoned)
            )
            await _abandon(
                connection, identity, or_(manifests.c.digest.in_(of_abandoned), manifests.c.subject.in_(abandoned))
            )
        await _drop_statements(connection, identity, some)
        pointing = select(tags.c.name).where(tags.c.repository_id == identity, tags.c.digest.in_(some))
        await rename(connection, identity, [*some, *(await connection.execute(pointing)).scalars()])
        for table, column in ((tags, tags.c.digest), (manifest_links, manifest_links.c.parent)):
            await connection.execute(delete(table).where(table.c.repository_id == identity, column.in_(some)))
        count += (await connection.execute(delete(manifests).where(mine))).rowcount
        await _given_up(connection, some, now)
    return count


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


async def _abandon(connection: AsyncConnection, identity: int, which: ColumnElement[bool]) -> None:
    await connection.execute(
        update(manifests).where(manifests.c.repository_id == identity, which).values(abandoned=True)
    )


async def _given_up(connection: AsyncConnection, digests: Sequence[str], now: datetime) -> None:
    await connection.execute(update(blobs).where(blobs.c.digest.in_(digests)).values(stored_at=now))


def parts(items: Sequence[_T]) -> list[Sequence[_T]]:
    """The items in as many at a time as fit into one statement."""
    return [items[start : start + _TOGETHER] for start in range(0, len(items), _TOGETHER)]
