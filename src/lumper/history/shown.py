"""What pages show of the registry: questions whose cost does not grow with the size of a repository."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ScalarSelect, func, literal, select, union_all

from lumper.history.activity import activity_from_row
from lumper.history.collection import id_of
from lumper.history.database import Database
from lumper.history.overview import public
from lumper.history.tables import activity, manifest_links, manifests, repositories, repository_blobs, tags
from lumper.model.activity import Activity

_MOST_TAGS = 1000
_MOST_BLOBS = 5000


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


def _counts(identity: int, name: str) -> Any:
    some_tags = select(tags.c.name).where(tags.c.repository_id == identity, public()).limit(_MOST_TAGS + 1).subquery()
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
