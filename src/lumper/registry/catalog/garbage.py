"""Garbage in the tables of images: the queries that find it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import (
    Boolean,
    ColumnElement,
    String,
    and_,
    exists,
    literal,
    literal_column,
    or_,
    select,
    text,
    type_coerce,
)

from lumper.model.builds.build import UNFINISHED
from lumper.model.builds.verification import Verified
from lumper.model.images.garbage import Sweep
from lumper.model.images.image import PRIVATE_PREFIX, build_of
from lumper.registry.catalog.in_use import in_use
from lumper.registry.catalog.needs import unneeded
from lumper.store.columns import Time
from lumper.store.connection import AsyncConnection
from lumper.store.statements import parts
from lumper.store.tables import (
    activity,
    builds,
    manifest_links,
    manifests,
    repositories,
    repository_blobs,
    rollouts,
    tags,
    verifications,
)

# PRIVATE_PREFIX as a range, which the index of the names knows
_PRIVATE = tags.c.name >= PRIVATE_PREFIX, tags.c.name < PRIVATE_PREFIX[:-1] + chr(ord(PRIVATE_PREFIX[-1]) + 1)
_CHILDREN = manifest_links.alias("children")
_SUBJECTS = manifests.alias("subjects")


async def stale_tags(
    connection: AsyncConnection, identity: int, sweep: Sweep, limit: int, among: Sequence[str] | None = None
) -> list[str]:
    """Private tags of builds that have ended or are forgotten; `among` these, if given."""
    query = (
        select(tags.c.name)
        .where(
            tags.c.repository_id == identity,
            *_PRIVATE,
            tags.c.updated_at < sweep.before,
        )
        .order_by(tags.c.name)
    )
    if among is not None:
        query = query.where(tags.c.name.in_(among))
    found = {name: build_of(name) for name in (await connection.execute(query)).scalars()}
    live: set[int] = set()
    numbers = sorted({number for number in found.values() if number is not None})
    for some in parts(numbers):
        going_on = select(builds.c.id).where(builds.c.id.in_(some), builds.c.state.in_(UNFINISHED))
        compared = select(verifications.c.by_id).where(
            verifications.c.by_id.in_(some), verifications.c.state == Verified.COMPARING.value
        )
        for query in (going_on, compared):
            live.update((await connection.execute(query)).scalars())
    return [name for name, number in found.items() if number is not None and number not in live][:limit]


async def needless_manifests(
    connection: AsyncConnection, identity: int, sweep: Sweep, limit: int, among: Sequence[str] | None = None
) -> list[tuple[str, int]]:
    """Digest and size of the manifests that nothing keeps; `among` these, if given.

    With the sweep's `since`, of those that were needed after this time, that retention or a build gave up, or that lost
    a tag and the time to undo that since.
    """
    mine = manifests.c
    unused = and_(~exists().where(builds.c.digest == mine.digest), ~exists().where(rollouts.c.digest == mine.digest))
    if not sweep.untagged:
        unused = and_(unused, mine.abandoned)
    query = select(mine.digest, mine.size).where(
        mine.repository_id == identity,
        unneeded(mine.digest),
        ~exists().where(tags.c.repository_id == identity, tags.c.digest == mine.digest),
        ~exists().where(_CHILDREN.c.repository_id == identity, _CHILDREN.c.child == mine.digest, _CHILDREN.c.manifest),
        ~exists().where(_SUBJECTS.c.repository_id == identity, mine.subject != "", _SUBJECTS.c.digest == mine.subject),
        or_(unused, and_(mine.retired, mine.digest.not_in(await _needed(connection, identity)))),
    )
    if sweep.left is not None:
        query = query.where(~_left_since(identity, mine.digest, sweep.left))
    if among is not None:
        query = query.where(mine.digest.in_(among))
    before, since = sweep.before, sweep.since
    if since is None:
        whole = query.where(mine.pushed_at < before).order_by(mine.digest)
        rows = list((await connection.execute(whole.limit(limit))).all())
    else:  # one after the other: each has its index
        young = query.where(mine.pushed_at >= since, mine.pushed_at < before)
        rows = list((await connection.execute(young.limit(limit))).all())
        at = type_coerce(mine.pushed_at.op("||")(literal("", String)), Time)  # the index of times has nearly all rows
        given_up = query.where(at < since, or_(mine.retired, mine.abandoned))
        rows += (await connection.execute(given_up.limit(limit))).all()
        if sweep.untagged:
            name = select(repositories.c.name).where(repositories.c.id == identity).scalar_subquery()
            lost = select(activity.c.before).where(activity.c.repository == name, *_lost(sweep))
            alone = query.where(mine.digest.in_(lost), mine.pushed_at < since)
            rows += (await connection.execute(alone.limit(limit))).all()
    return [*{row.digest: row.size for row in rows}.items()][:limit]


async def _needed(connection: AsyncConnection, identity: int) -> list[str]:
    """What runs or was built last, if there is anything in the repository that may go although it once was needed."""
    retired = exists().where(manifests.c.repository_id == identity, manifests.c.retired)
    return list(await in_use(connection)) if (await connection.execute(select(retired))).scalar() else []


def _lost(sweep: Sweep) -> list[ColumnElement[bool]]:
    """That a tag left something so long ago that the time to undo it, if there is one, was over within these times."""
    until = sweep.before if sweep.left is None else sweep.left
    begun = [] if sweep.since is None else [activity.c.at >= until - (sweep.before - sweep.since)]
    return [literal_column("before != ''", Boolean), *begun, activity.c.at < until]


def _left_since(identity: int, digest: ColumnElement[str], since: datetime) -> ColumnElement[bool]:
    told = activity.c
    name = select(repositories.c.name).where(repositories.c.id == identity).scalar_subquery()
    return exists().where(  # the second condition is word for word that of the index
        told.repository == name, text("before != ''"), told.before == digest, told.at >= since
    )


async def needless_links(
    connection: AsyncConnection, identity: int, sweep: Sweep, limit: int, among: Sequence[str] | None = None
) -> list[tuple[str, int]]:
    """Digest and size of the blobs that no manifest of the repository refers to; `among` these, if given.

    With the sweep's `since`, of those that were linked, or lost what referred to them, after this time.
    """
    mine = repository_blobs.c
    query = select(mine.digest, mine.size).where(
        mine.repository_id == identity,
        mine.linked_at < sweep.before,
        unneeded(mine.digest),
        ~exists().where(_CHILDREN.c.repository_id == identity, _CHILDREN.c.child == mine.digest),
    )
    if among is not None:
        query = query.where(mine.digest.in_(among))
    query = query.order_by(mine.digest) if sweep.since is None else query.where(mine.linked_at >= sweep.since)
    return [(row.digest, row.size) for row in await connection.execute(query.limit(limit))]


async def restless(connection: AsyncConnection, sweep: Sweep, last: str, limit: int) -> list[str]:
    """Repositories of which anything was last needed within the sweep, or that retention or a build had to do with.

    Where it is for what is `untagged`, also those of which a tag has left anything. Whatever else loses what it was
    needed for is as young as that moment, so the rest was judged when it came of age.
    """
    since, before = sweep.since or datetime.min.replace(tzinfo=UTC), sweep.before
    pushed, linked = manifests.c, repository_blobs.c
    mine, lost = repositories.c.id, _lost(sweep)
    query = select(repositories.c.name).where(
        repositories.c.name > last,
        or_(
            exists().where(pushed.repository_id == mine, pushed.pushed_at >= since, pushed.pushed_at < before),
            exists().where(linked.repository_id == mine, linked.linked_at >= since, linked.linked_at < before),
            exists().where(pushed.repository_id == mine, or_(pushed.retired, pushed.abandoned)),
            exists().where(tags.c.repository_id == mine, *_PRIVATE),
            *([exists().where(activity.c.repository == repositories.c.name, *lost)] if sweep.untagged else []),
        ),
    )
    return list((await connection.execute(query.order_by(repositories.c.name).limit(limit))).scalars())
