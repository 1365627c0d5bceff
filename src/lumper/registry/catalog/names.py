"""Names of manifests: what the storage is told of them, and what is made known again because the storage says so."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Table, delete, func, insert, literal, not_, select, true, update

from lumper.model.images.image import PRIVATE_PREFIX, Link, Name, Rename, Restored, Tag
from lumper.registry.catalog.collection import TOPIC, id_of
from lumper.registry.catalog.renames import rename
from lumper.store.database import Database, changed, insert_missing
from lumper.store.statements import parts
from lumper.store.tables import (
    blobs,
    manifest_links,
    manifests,
    renames,
    repositories,
    repository_blobs,
    tags,
)

MOST_BYTES = 1 << 44  # of what senders say: no sum of sums is then too large for the database


def _public() -> ColumnElement[bool]:
    return not_(tags.c.name.startswith(PRIVATE_PREFIX, autoescape=True))


_KINDS = (
    (manifests, manifests.c.digest, manifests.c.media_type, true()),
    (tags, tags.c.name, tags.c.digest, _public()),
)


class NameHistory:
    """The part of the registry's metadata that the storage repeats, so that it can be made anew."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def known_names(self, repository: str, references: Sequence[str]) -> dict[str, str]:
        """What these digests and tags of `repository` are; without those unknown."""
        found: dict[str, str] = {}
        digests = [reference for reference in references if ":" in reference]  # which no tag has
        asked = digests, [reference for reference in references if ":" not in reference]
        async with self._database.read() as connection:
            for (table, key, says, public), these in zip(_KINDS, asked, strict=True):
                for some in parts(these):
                    mine = table.c.repository_id == id_of(repository), key.in_(some), public
                    query = select(key, says).where(*mine).order_by(key)  # or SQLite reads another index whole
                    found.update((row[0], row[1]) for row in await connection.execute(query))
        return found

    async def names(self, repository: str, *, last: str = "", limit: int = 500) -> list[Name]:
        """At most `limit` manifests and public tags whose reference comes after `last` in lexical order."""
        found: list[Name] = []
        async with self._database.read() as connection:
            for table, key, says, public in _KINDS:
                mine = table.c.repository_id == id_of(repository), key > last, public
                query = select(key, says).where(*mine).order_by(key).limit(limit)
                found += [Name(repository, row[0], row[1]) for row in await connection.execute(query)]
        return sorted(found, key=lambda name: name.reference)[:limit]

    async def restore(self, repository: str, found: Sequence[Restored], *, abandoned: bool = False) -> int:
        """Make known manifests and the right to serve their blobs; how many were not."""
        if not found:
            return 0
        async with self._database.write() as connection:
            changed(connection, TOPIC, repository)
            return await connection.run_sync(_restored, repository, found, abandoned)

    async def restore_tags(self, repository: str, tags: Sequence[Tag]) -> list[str]:
        """Make those tags that are not there and have no rename, of manifests that are there; their names."""
        async with self._database.write() as connection:
            changed(connection, TOPIC, repository)
            return await connection.run_sync(_restored_tags, repository, tags)

    async def renames(self, after: int = 0, limit: int = 500) -> list[Rename]:
        """At most `limit` names of which the storage is to hear."""
        query = select(renames, repositories.c.name).join(repositories).where(renames.c.id > after)
        async with self._database.read() as connection:
            rows = (await connection.execute(query.order_by(renames.c.id).limit(limit))).all()
        return [_rename_from_row(row) for row in rows]

    async def rename(self, repository: str, references: Sequence[str]) -> None:
        """Treat these names of `repository` as if they had changed."""
        async with self._database.write() as connection:
            identity = (await connection.execute(select(id_of(repository)))).scalar()
            if identity is not None:
                await rename(connection, identity, references)

    async def rename_all(self) -> None:
        """Treat every name as if it had changed."""
        columns = ["repository_id", "reference", "changed_at"]
        now = literal(datetime.now(UTC), renames.c.changed_at.type)
        async with self._database.write() as connection:
            for table, key, _, public in _KINDS:
                query = select(table.c.repository_id, key, now).where(public)
                await connection.execute(insert(renames).from_select(columns, query))

    async def renamed(self, numbers: Sequence[int]) -> None:
        """The storage has heard of these."""
        async with self._database.write() as connection:
            for some in parts(numbers):
                await connection.execute(delete(renames).where(renames.c.id.in_(some)))


def link_row(identity: int, parent: str, link: Link) -> dict[str, object]:
    """A row of `manifest_links`."""
    return {
        "repository_id": identity,
        "parent": parent,
        "child": link.digest,
        "manifest": link.manifest,
        "size": link.size,
    }


def _restored(connection: Connection, repository: str, found: Sequence[Restored], abandoned: bool) -> int:
    identity, now = _identity(connection, repository, min(one.at for one in found)), datetime.now(UTC)
    known = _untouchable(connection, identity, manifests.c.digest, [one.manifest.digest for one in found])
    new = [one for one in found if one.manifest.digest not in known]
    links = {(one.manifest.digest, link.digest): link for one in new for link in one.manifest.links}
    served = {link.digest: link.size for one in new for link in one.blobs}
    right = {"repository_id": identity, "linked_at": now}
    stored = served | {one.manifest.digest: one.manifest.size for one in new}
    _add(connection, manifests, [_manifest_row(connection, identity, one, now, abandoned) for one in new])
    _add(connection, manifest_links, [link_row(identity, parent, link) for (parent, _), link in links.items()])
    _add(connection, repository_blobs, [{**right, "digest": digest, "size": size} for digest, size in served.items()])
    _add(connection, blobs, [{"digest": digest, "size": size, "stored_at": now} for digest, size in stored.items()])
    return len(new)


def _manifest_row(
    connection: Connection, identity: int, one: Restored, now: datetime, abandoned: bool
) -> dict[str, object]:
    manifest = one.manifest
    links = [*{(link.digest, link.manifest): link for link in manifest.links}.values()]
    return {
        "repository_id": identity,
        "digest": manifest.digest,
        "media_type": manifest.media_type,
        "size": manifest.size,
        "total": manifest.size + _total(connection, identity, links),
        "subject": manifest.subject,
        "artifact_type": manifest.artifact_type,
        "annotations": dict(manifest.annotations),
        "created_at": one.at,
        "pushed_at": now,
        "abandoned": abandoned,
    }


def _untouchable(connection: Connection, identity: int | None, key: Any, references: Sequence[str]) -> set[str]:
    """Those of the references that are there, or that somebody changed a moment ago."""
    found: set[str] = set()
    for some in parts(references):
        for table, column in ((key.table, key), (renames, renames.c.reference)):
            mine = table.c.repository_id == identity, column.in_(some)
            found.update(connection.execute(select(column).where(*mine)).scalars())
    return found


def _restored_tags(connection: Connection, repository: str, found: Sequence[Tag]) -> list[str]:
    made: list[str] = []
    identity = connection.execute(select(id_of(repository))).scalar()
    for some in parts(found):
        mine = manifests.c.repository_id == identity
        there = select(manifests.c.digest).where(mine, manifests.c.digest.in_({tag.digest for tag in some}))
        digests = set(connection.execute(there).scalars())
        names = _untouchable(connection, identity, tags.c.name, [tag.name for tag in some])
        new = [tag for tag in some if tag.digest in digests and tag.name not in names]
        rows = [
            {"repository_id": identity, "name": tag.name, "digest": tag.digest, "updated_at": tag.updated_at}
            for tag in new
        ]
        _add(connection, tags, rows)
        held = manifests.c.digest.in_({tag.digest for tag in new})
        connection.execute(update(manifests).where(mine, held).values(abandoned=False))
        made += [tag.name for tag in new]
    return made


def _identity(connection: Connection, name: str, at: datetime) -> int:
    _add(connection, repositories, [{"name": name, "created_at": at}])
    return int(connection.execute(select(id_of(name))).scalar_one())


def _total(connection: Connection, identity: int, links: Sequence[Link]) -> int:
    total = sum(link.size for link in links if not link.manifest)
    for some in parts([link.digest for link in links if link.manifest]):
        mine = manifests.c.repository_id == identity, manifests.c.digest.in_(some)
        total += int(
            connection.execute(select(func.coalesce(func.sum(manifests.c.total), 0)).where(*mine)).scalar_one()
        )
    return min(total, MOST_BYTES)


def _add(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """Insert those of the rows that are not there."""
    if rows:
        connection.execute(insert_missing(connection, table), [*rows])


def _rename_from_row(row: Row[Any]) -> Rename:
    return Rename(row.id, row.name, row.reference, row.changed_at)
