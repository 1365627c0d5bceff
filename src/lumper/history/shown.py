"""What pages show of the registry: questions whose cost does not grow with the size of a repository."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ScalarSelect, func, literal, not_, select, union_all

from lumper.history.activity import activity_from_row
from lumper.history.collection import id_of
from lumper.history.database import Database
from lumper.history.images import tag_from_row
from lumper.history.overview import beside_an_image, public
from lumper.history.tables import activity, manifest_links, manifests, repositories, repository_blobs, tags
from lumper.model.activity import Activity
from lumper.model.image import Tag, tags_beside

_MOST_TAGS = 1000
_MOST_BLOBS = 5000
_MOST_MOVES = 2000  # that are looked at for the newest tags
_MOST_REFERRERS = 20_000  # whose kinds are told together


@dataclass(frozen=True)
class Held:
    """A repository as a list shows it: the number of tags, the bytes, each of them at least so many if it says so."""

    name: str
    tags: int
    size: int
    updated_at: datetime
    more_tags: bool = False
    more_size: bool = False


class Shown:
    """The questions."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def held(self, names: Sequence[str]) -> list[Held]:
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
        return [_held(row, counts[row.id]) for row in there]

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

    async def children(self, repository: str, digest: str) -> dict[str, int]:
        """The manifests of an index, those that are there, with all the bytes behind each."""
        links, known = manifest_links.c, manifests.c
        mine = links.repository_id == id_of(repository), links.parent == digest, links.manifest
        there = known.repository_id == links.repository_id, known.digest == links.child
        query = select(known.digest, known.total).where(*mine, *there)
        async with self._database.read() as connection:
            return {row.digest: row.total for row in await connection.execute(query)}

    async def pulled_at(self, repository: str, digest: str) -> datetime | None:
        """When the manifest was last asked for, as far as that is known; a minute late."""
        known = manifests.c
        query = select(known.pulled_at).where(known.repository_id == id_of(repository), known.digest == digest)
        async with self._database.read() as connection:
            found: datetime | None = (await connection.execute(query)).scalar()
        return found

    async def sizes(self, repository: str, digests: Sequence[str]) -> dict[str, int]:
        """All the bytes behind each of these manifests, at most 100, as far as they are there."""
        known = manifests.c
        query = select(known.digest, known.total).where(
            known.repository_id == id_of(repository), known.digest.in_(digests)
        )
        async with self._database.read() as connection:
            return {row.digest: row.total for row in await connection.execute(query)}

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
    mine = repository_blobs.c.repository_id == identity
    some_blobs = select(repository_blobs.c.size).where(mine).limit(_MOST_BLOBS + 1).subquery()
    return select(
        literal(identity).label("id"),
        _of(select(func.count()).select_from(some_tags)).label("tags"),
        _of(select(func.count()).select_from(some_blobs)).label("blobs"),
        _of(select(func.coalesce(func.sum(some_blobs.c.size), 0))).label("size"),
        _of(_last_change(name)).label("changed_at"),
    )


def _last_change(name: str) -> Any:
    newest = select(func.max(activity.c.id)).where(activity.c.repository == name).scalar_subquery()
    return select(activity.c.at).where(activity.c.id == newest)


def _of(query: Any) -> ScalarSelect[Any]:
    found: ScalarSelect[Any] = query.scalar_subquery()
    return found


def _held(row: Any, counts: Any) -> Held:
    return Held(
        row.name,
        min(counts.tags, _MOST_TAGS),
        int(counts.size),
        counts.changed_at or row.created_at,
        more_tags=counts.tags > _MOST_TAGS,
        more_size=counts.blobs > _MOST_BLOBS,
    )
