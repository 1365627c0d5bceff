"""What pages show of the registry: questions whose cost does not grow with the size of a repository."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ScalarSelect, case, exists, func, literal, not_, or_, select, union_all

from lumper.accounts.activity import activity_from_row
from lumper.model.images.activity import Activity
from lumper.model.images.image import Manifest, Tag, tags_beside
from lumper.registry.catalog.collection import id_of
from lumper.registry.catalog.images import manifest_from_row, tag_from_row
from lumper.registry.catalog.overview import beside_an_image, public
from lumper.store.database import Database
from lumper.store.tables import (
    activity,
    manifest_links,
    manifests,
    repositories,
    repository_blobs,
    tags,
)

_MOST_TAGS = 1000
_MOST_SIZES = 5000  # of blobs, and of manifests
_MOST_MOVES = 2000  # that are looked at for the newest tags
_MOST_NEEDED = 5000  # layers and images of one index
_MOST_REFERRERS = 20_000  # whose kinds are told together


@dataclass(frozen=True)
class RepositorySummary:
    """A repository as a list shows it: the number of tags, the bytes of layers, configs and manifests.

    There are more than so many if it says so.
    """

    name: str
    tags: int
    size: int
    updated_at: datetime
    more_tags: bool = False
    more_size: bool = False


@dataclass(frozen=True)
class KnownManifest:
    """A manifest, and when it was last asked for, as far as that is known; a minute late."""

    manifest: Manifest
    pulled_at: datetime | None


@dataclass(frozen=True)
class Space:
    """Bytes below a manifest: `once` counts what several of its parts have in common once, `only` what nothing else in
    the registry has."""

    once: int
    only: int


class Order(StrEnum):
    """What the images of a repository may be sorted by."""

    SIZE = "size"
    PULLED = "pulled"


class Rank(StrEnum):
    """What repositories may be sorted by."""

    SIZE = "size"
    CHANGED = "changed"


class Catalog:
    """Repositories, tags and manifests as pages list them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def summaries(self, names: Sequence[str]) -> list[RepositorySummary]:
        """These repositories, at most 100, with what they hold; those that are not there are left out."""
        if not names:
            return []
        query = select(repositories).where(repositories.c.name.in_(names)).order_by(repositories.c.name)
        async with self._database.read() as connection:
            there = (await connection.execute(query)).all()
            if not there:
                return []
            counted = await connection.execute(union_all(*[_counts(row.id, row.name) for row in there]))
            counts = {row.id: row for row in counted}
        return [_summary(row, counts[row.id]) for row in there]

    async def first(self, names: Sequence[str], rank: Rank, *, limit: int) -> list[str]:
        """At most `limit` of these repositories, at most 1000: the largest first, or those that changed last.

        Reads the sizes of all their blobs, a second for a million, and leaves out those of the manifests.
        """
        mine, done = repository_blobs.c.repository_id == repositories.c.id, activity.c
        size = select(func.sum(repository_blobs.c.size)).where(mine).scalar_subquery()
        changed = select(func.max(done.id)).where(done.repository == repositories.c.name).scalar_subquery()
        by = (size if rank is Rank.SIZE else changed).desc().nulls_last()
        query = select(repositories.c.name).where(repositories.c.name.in_(names)).order_by(by, repositories.c.name)
        async with self._database.read() as connection:
            return list((await connection.execute(query.limit(limit))).scalars())

    async def tags_at(self, repository: str, digest: str, *, limit: int = 100) -> list[str]:
        """At most `limit` public tags that point at the digest, in lexical order."""
        query = select(tags.c.name).where(tags.c.repository_id == id_of(repository), tags.c.digest == digest, public())
        async with self._database.read() as connection:
            return list((await connection.execute(query.order_by(tags.c.name).limit(limit))).scalars())

    async def parents(self, repository: str, digest: str, *, limit: int = 10) -> list[str]:
        """At most `limit` indexes of which the manifest is a part."""
        links = manifest_links.c
        mine = links.repository_id == id_of(repository), links.child == digest, links.manifest
        query = select(links.parent).where(*mine).order_by(links.parent).limit(limit)
        async with self._database.read() as connection:
            return list((await connection.execute(query)).scalars())

    async def part_of(self, repository: str, digest: str) -> str:
        """Of which index the manifest is a part, and which tags that has, in words; "" if of none."""
        found = await self.parents(repository, digest)
        parents = {parent: await self.tags_at(repository, parent, limit=3) for parent in found}
        if not parents:
            return ""
        index = max(parents, key=lambda parent: len(parents[parent]))
        tags = f", tagged {', '.join(parents[index])}" if parents[index] else ", which has no tags"
        return f"It is a part of the index {repository}@{index}{tags}."

    async def children(self, repository: str, digest: str) -> dict[str, int]:
        """The manifests of an index, those that are there, with all the bytes behind each."""
        links, known = manifest_links.c, manifests.c
        mine = links.repository_id == id_of(repository), links.parent == digest, links.manifest
        there = known.repository_id == links.repository_id, known.digest == links.child
        query = select(known.digest, known.total).where(*mine, *there)
        async with self._database.read() as connection:
            return {row.digest: row.total for row in await connection.execute(query)}

    async def known(self, repository: str, digests: Sequence[str]) -> dict[str, KnownManifest]:
        """These manifests, at most 100, as far as they are there."""
        query = select(manifests).where(manifests.c.repository_id == id_of(repository), manifests.c.digest.in_(digests))
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).all()
        return {row.digest: KnownManifest(manifest_from_row(row), row.pulled_at) for row in rows}

    async def space(self, repository: str, digest: str) -> Space:
        """What the manifest takes, with all that it needs; of what is below the images of an index nothing is told."""
        links, mine = manifest_links.c, manifest_links.c.repository_id == id_of(repository)
        parts = select(links.child).where(mine, links.parent == digest, links.manifest)
        inside = or_(links.parent == digest, links.parent.in_(parts))
        needed = select(links.child, func.max(links.size).label("size")).where(mine, inside).group_by(links.child)
        some = needed.limit(_MOST_NEEDED).subquery()
        other, elsewhere = manifest_links.alias().c, repository_blobs.alias().c
        needs = other.repository_id == id_of(repository), other.child == some.c.child
        not_mine = other.parent != digest, other.parent.not_in(parts)
        shared = or_(
            exists().where(*needs, *not_mine),
            exists().where(elsewhere.digest == some.c.child, elsewhere.repository_id != id_of(repository)),
        )
        alone = func.sum(case((shared, 0), else_=some.c.size))
        async with self._database.read() as connection:
            once, only = (await connection.execute(select(func.sum(some.c.size), alone))).one()
        return Space(int(once or 0), int(only or 0))

    async def named_tags(self, repository: str, *, begin: str = "", last: str = "", limit: int) -> list[Tag]:
        """At most `limit` public tags by name, those that begin so and come after `last`.

        Left out are tags that only say something of an image: signatures may be more than images.
        """
        name = tags.c.name
        mine = tags.c.repository_id == id_of(repository), public(), not_(beside_an_image())
        part = name > last, name >= begin, name < begin + "\x7f"  # a tag has nothing beyond `~`
        query = select(tags).where(*mine, *part).order_by(name).limit(limit)
        async with self._database.read() as connection:
            return [tag_from_row(row) for row in await connection.execute(query)]

    async def newest_tags(self, repository: str, *, limit: int) -> list[Tag]:
        """At most `limit` public tags that were set last, as far as the last moves in the repository tell."""
        rows = activity.c
        last = select(rows.tag, rows.id).where(rows.repository == repository).order_by(rows.id.desc())
        some = last.limit(_MOST_MOVES).subquery()
        moved = select(some.c.tag, func.max(some.c.id).label("id")).group_by(some.c.tag).subquery()
        mine = tags.c.repository_id == id_of(repository), public(), not_(beside_an_image())
        query = select(tags).join(moved, moved.c.tag == tags.c.name).where(*mine).order_by(moved.c.id.desc())
        async with self._database.read() as connection:
            return [tag_from_row(row) for row in await connection.execute(query.limit(limit))]

    async def tags_by(self, repository: str, order: Order, *, limit: int) -> list[Tag]:
        """At most `limit` public tags, those of the largest images first, or of those that nobody has pulled for long.

        Reads all of them: for repositories of a size that is told whole.
        """
        known = manifests.c
        mine = tags.c.repository_id == id_of(repository), public(), not_(beside_an_image())
        there = (known.repository_id == tags.c.repository_id) & (known.digest == tags.c.digest)
        by = known.total.desc() if order is Order.SIZE else known.pulled_at.asc().nulls_first()
        query = select(tags).join(manifests, there).where(*mine).order_by(by, tags.c.updated_at.desc()).limit(limit)
        async with self._database.read() as connection:
            return [tag_from_row(row) for row in await connection.execute(query)]

    async def told(self, repository: str, digests: Sequence[str]) -> dict[str, tuple[set[str], list[str]]]:
        """What is told of these images, at most 100: the types of their referrers, and tags such as sha256-….sig."""
        if not digests:
            return {}
        found: dict[str, tuple[set[str], list[str]]] = {digest: (set(), []) for digest in digests}
        names = {name: digest for digest in digests for name in tags_beside(digest)}
        beside = select(tags.c.name).where(tags.c.repository_id == id_of(repository), tags.c.name.in_(names))
        async with self._database.read() as connection:
            for row in await connection.execute(_types(repository, digests)):
                found[row.subject][0].add(row.artifact_type)
            for name in (await connection.execute(beside)).scalars():
                found[names[name]][1].append(name)
        return found

    async def last_moves(self, repository: str, names: Sequence[str]) -> dict[str, Activity]:
        """By tag, of at most 100: what was done to it last, as far as it is still known."""
        if not names:
            return {}
        rows = activity.c
        newest = [
            select(func.max(rows.id)).where(rows.repository == repository, rows.tag == name).scalar_subquery()
            for name in names
        ]
        query = union_all(*[select(activity).where(rows.id == one) for one in newest])
        async with self._database.read() as connection:
            found = [activity_from_row(row) for row in await connection.execute(query)]
        return {one.tag: one for one in found}


def _types(repository: str, digests: Sequence[str]) -> Any:
    known = manifests.c
    mine = known.repository_id == id_of(repository), known.subject.in_(digests)
    some = select(known.subject, known.artifact_type).where(*mine).limit(_MOST_REFERRERS).subquery()
    return select(some).distinct()


def _counts(identity: int, name: str) -> Any:
    seen = tags.c.repository_id == identity, public(), not_(beside_an_image())
    some_tags = select(tags.c.name).where(*seen).limit(_MOST_TAGS + 1).subquery()
    some_blobs, some_manifests = (
        select(table.c.size).where(table.c.repository_id == identity).limit(_MOST_SIZES + 1).subquery()
        for table in (repository_blobs, manifests)
    )
    return select(
        literal(identity).label("id"),
        _of(select(func.count()).select_from(some_tags)).label("tags"),
        _of(select(func.count()).select_from(some_blobs)).label("blobs"),
        _of(select(func.count()).select_from(some_manifests)).label("manifests"),
        _of(select(func.coalesce(func.sum(some_blobs.c.size), 0))).label("size"),
        _of(select(func.coalesce(func.sum(some_manifests.c.size), 0))).label("own_size"),
        _of(_last_change(name)).label("changed_at"),
    )


def _last_change(name: str) -> Any:
    newest = select(func.max(activity.c.id)).where(activity.c.repository == name).scalar_subquery()
    return select(activity.c.at).where(activity.c.id == newest)


def _of(query: Any) -> ScalarSelect[Any]:
    found: ScalarSelect[Any] = query.scalar_subquery()
    return found


def _summary(row: Any, counts: Any) -> RepositorySummary:
    return RepositorySummary(
        row.name,
        min(counts.tags, _MOST_TAGS),
        int(counts.size + counts.own_size),
        counts.changed_at or row.created_at,
        more_tags=counts.tags > _MOST_TAGS,
        more_size=max(counts.blobs, counts.manifests) > _MOST_SIZES,
    )
