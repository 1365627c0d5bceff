"""Images: which repository may serve which blob, manifests, and the tags that point at them."""

from __future__ import annotations

from collections.abc import Collection as Collected
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, Table, func, select

from lumper.accounts.activity import ActivityLog, record, record_pointing
from lumper.model.images.activity import SERVER, Activity, Actor, AuditAction, pushed
from lumper.model.images.image import Image, Link, Manifest, NewManifest, Referrer, Tag, fitting, is_digest
from lumper.registry.catalog.collection import TOPIC, Collection, repository_id, repository_made
from lumper.registry.catalog.collection import id_of as _id_of
from lumper.registry.catalog.dropping import drop_links, drop_manifests
from lumper.registry.catalog.names import MOST_BYTES, NameHistory, link_row
from lumper.registry.catalog.needs import need
from lumper.registry.catalog.overview import all_images, has_manifests, public
from lumper.registry.catalog.renames import rename_moved
from lumper.registry.catalog.retention import RetentionHistory
from lumper.registry.catalog.rules import RuleHistory, check_moves, check_removal, rules_in
from lumper.registry.catalog.tagging import TagHistory, check_pointing, here, pointed
from lumper.registry.catalog.usage import UsageHistory
from lumper.store.connection import AsyncConnection
from lumper.store.database import Database, at_last, changed, together, upsert
from lumper.store.query_cache import QueryCache
from lumper.store.statements import parts
from lumper.store.tables import (
    blobs,
    manifest_links,
    manifests,
    repositories,
    repository_blobs,
    tags,
)
from lumper.system.batching import Batching

_REMEMBERED = 16_384  # repositories


@dataclass
class _Needed:
    """Digests that somebody is about to rely on; afterwards `claimed` are those that cannot be."""

    digests: frozenset[str]
    seconds: float
    claimed: set[str] = field(default_factory=set)


class ImageHistory(Collection, TagHistory, RuleHistory, RetentionHistory, UsageHistory, ActivityLog, NameHistory):
    """The registry's metadata in the database.

    Tags, manifests and rights to blobs that are there are answered from memory; every transaction that changes them,
    in this process, makes the memory forget them.
    """

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        RuleHistory.__init__(self, database)
        self._changes = 0
        self._blobs: QueryCache[bool] = QueryCache()
        self._manifests: QueryCache[Manifest] = QueryCache()
        self._tags: QueryCache[Tag] = QueryCache()
        self._links = Batching(self._link)
        self._needs = Batching(self._need)
        self._identities: dict[str, int] = {}  # of repositories, which are never removed
        database.on_change(TOPIC, self._forget)

    def _forget(self, repository: str | None) -> None:
        self._changes += 1
        for recent in (self._blobs, self._manifests, self._tags):
            recent.forget(repository)

    def _current(self, changes: int) -> bool:
        """Whether what was read when there were so many changes is still true, and it will be heard when it is not."""
        return changes == self._changes and self._database.hears

    async def link_blob(self, repository: str, digest: str, size: int) -> None:
        """From now on `repository` (made if need be) may serve this blob."""
        changes = self._changes
        await self._links.add((repository, digest, size))
        if self._current(changes):
            self._blobs.keep(repository, digest, True)

    async def _link(self, links: Sequence[tuple[str, str, int]]) -> None:
        """Many blobs in one transaction, each of which may come more than once."""
        identities = await self._database.write_hot(lambda connection: _linked(connection, links, self._identities))
        if len(self._identities) > _REMEMBERED:
            self._identities.clear()
        self._identities.update(identities)

    async def has_blob(self, repository: str, digest: str) -> bool:
        """Whether `repository` may serve this blob."""
        if self._blobs.get(repository, digest):
            return True
        changes = self._changes
        query = select(repository_blobs.c.size).where(
            repository_blobs.c.repository_id == _id_of(repository), repository_blobs.c.digest == digest
        )
        found = bool(await self._database.rows(query))
        if found and self._current(changes):
            self._blobs.keep(repository, digest, True)
        return found

    async def need(self, repository: str, digests: Collected[str], seconds: float) -> set[str]:
        """No collector takes these for so long; those that one has claimed are returned, and not needed."""
        asked = _Needed(frozenset(digests), seconds)
        await self._needs.add(asked)
        for digest in digests:  # a collector of another process may have been quicker than the news of it
            self._blobs.forget_one(repository, digest)
            self._manifests.forget_one(repository, digest)
        return asked.claimed

    async def _need(self, asked: Sequence[_Needed]) -> None:
        """What many need, in one transaction, each for as long as anybody does."""
        digests = frozenset().union(*(one.digests for one in asked))
        longest = max(one.seconds for one in asked)
        claimed = await self._database.write_hot(lambda connection: need(connection, digests, longest))
        for one in asked:
            one.claimed = set(one.digests & claimed)

    def remembers_blob(self, repository: str, digest: str) -> bool:
        """Whether it is in memory that `repository` may serve this blob."""
        return self._blobs.get(repository, digest) is not None

    async def repositories_with(self, digest: str, *, limit: int = 100) -> list[str]:
        """At most `limit` names of repositories that may serve this blob, in lexical order."""
        query = select(repositories.c.name).join(repository_blobs).where(repository_blobs.c.digest == digest)
        return [row.name for row in await self._database.rows(query.order_by(repositories.c.name).limit(limit))]

    async def missing(self, repository: str, links: Sequence[Link]) -> list[Link]:
        """Those of the links that `repository` may not serve."""
        unknown = [link for link in links if not self._has(repository, link)]
        if not unknown:
            return []
        async with self._database.read() as connection:
            blobs = await _known(connection, repository_blobs, repository, [x for x in unknown if not x.manifest])
            children = await _known(connection, manifests, repository, [x for x in unknown if x.manifest])
        return [link for link in unknown if link.digest not in (children if link.manifest else blobs)]

    def _has(self, repository: str, link: Link) -> bool:
        known = self._manifests if link.manifest else self._blobs
        return known.get(repository, link.digest) is not None

    async def put_manifest(
        self,
        repository: str,
        manifest: NewManifest,
        tags: Sequence[str],
        actor: Actor = SERVER,
        *,
        expected: str | None = None,
    ) -> None:
        """Make the manifest known and let the tags point at it, in one transaction, which also tells who did so.

        Raises Conflict if one of the tags points elsewhere than at `expected`.
        """
        now, rules = datetime.now(UTC), await self.rules()
        links = list({(link.digest, link.manifest): link for link in manifest.links}.values())
        known = self._identities.get(repository)

        async def put(connection: AsyncConnection) -> None:
            identity = known or await repository_made(connection, repository)
            for tag in tags:
                await check_pointing(connection, repository, identity, tag, expected)
            await check_moves(connection, rules, repository, identity, tags, manifest.digest)
            row = {
                "repository_id": identity,
                "digest": manifest.digest,
                "media_type": manifest.media_type,
                "size": manifest.size,
                "total": manifest.size + await _total(connection, identity, links),
                "subject": manifest.subject,
                "artifact_type": manifest.artifact_type,
                "annotations": dict(manifest.annotations),
                "created_at": now,
                "pushed_at": now,
                "abandoned": False,
                "retired": False,
            }
            done = pushed(repository, manifest.digest, tags, actor, now)
            rows = [link_row(identity, manifest.digest, link) for link in links]
            at_last(connection, lambda last: _put(last, row, rows, tags, done))
            changed(connection, TOPIC, repository)

        await self._database.write_at_once(put)

    async def manifest(self, repository: str, digest: str) -> Manifest | None:
        """The manifest, if this repository has it."""
        if known := self._manifests.get(repository, digest):
            return known
        changes = self._changes
        query = select(manifests).where(*here(repository, digest))
        rows = await self._database.rows(query)
        if not rows:
            return None
        found = manifest_from_row(rows[0])
        if self._current(changes):
            self._manifests.keep(repository, digest, found)
        return found

    async def digests(self, repository: str, beginning: str, limit: int) -> list[str]:
        """At most `limit` digests of manifests that begin so, in the order of their bytes."""
        digest = manifests.c.digest
        after = beginning + "g"  # comes after every digit
        query = (
            select(digest)
            .where(manifests.c.repository_id == _id_of(repository), digest >= beginning, digest < after)
            .order_by(digest)
            .limit(limit)
        )
        return [row.digest for row in await self._database.rows(query)]

    def remembered_manifest(self, repository: str, digest: str) -> Manifest | None:
        """The manifest, if it is in memory."""
        return self._manifests.get(repository, digest)

    async def tag(self, repository: str, name: str) -> Tag | None:
        """The tag, or None."""
        if known := self._tags.get(repository, name):
            return known
        changes = self._changes
        query = select(tags).where(tags.c.repository_id == _id_of(repository), tags.c.name == name)
        rows = await self._database.rows(query)
        if not rows:
            return None
        found = tag_from_row(rows[0])
        if self._current(changes):
            self._tags.keep(repository, name, found)
        return found

    def remembered_tag(self, repository: str, name: str) -> Tag | None:
        """The tag, if it is in memory."""
        return self._tags.get(repository, name)

    async def resolve(self, repository: str, reference: str) -> Manifest | None:
        """The manifest that a digest names, or that a tag points at."""
        if is_digest(reference):
            return await self.manifest(repository, reference)
        tag = await self.tag(repository, reference)
        return await self.manifest(repository, tag.digest) if tag else None

    async def tags(self, repository: str, *, last: str = "", limit: int = 100) -> list[Tag] | None:
        """At most `limit` tags after `last` in lexical order, without build-private ones; None: no such repository."""
        query = select(tags).where(tags.c.repository_id == _id_of(repository), tags.c.name > last, public())
        rows = await self._database.rows(query.order_by(tags.c.name).limit(limit))
        if not rows and not await self._database.rows(
            select(repositories.c.id).where(repositories.c.name == repository)
        ):
            return None
        return [tag_from_row(row) for row in rows]

    async def repositories(self, *, last: str = "", limit: int = 100, holding: bool = False) -> list[str]:
        """At most `limit` names of repositories after `last` in lexical order; `holding`: that have a manifest."""
        query = select(repositories.c.name).where(repositories.c.name > last).order_by(repositories.c.name).limit(limit)
        if holding:
            query = query.where(has_manifests())
        return [row.name for row in await self._database.rows(query)]

    async def images(self) -> list[Image]:
        """All repositories that have a manifest, with the number of tags and the bytes that they hold."""
        async with self._database.read() as connection:
            return await all_images(connection)

    async def referrers(
        self,
        repository: str,
        subject: str,
        *,
        artifact_types: Sequence[str] = (),
        last: str = "",
        limit: int = 100,
        most_bytes: int = 4 << 20,
    ) -> tuple[list[Referrer], bool]:
        """Manifests with this subject, whose digest comes after `last` in lexical order, and whether more follow."""
        table = manifests.c
        mine = [table.repository_id == _id_of(repository), table.subject == subject, table.digest > last]
        if artifact_types:
            mine.append(table.artifact_type.in_(artifact_types))
        async with self._database.read() as connection:
            query = select(table.digest, table.size).where(*mine).order_by(table.digest).limit(limit + 1)
            there = (await connection.execute(query)).all()
            count = fitting((row.size for row in there[:limit]), most_bytes)
            if count == 0:
                return [], bool(there)
            whole = select(manifests).where(*mine, table.digest <= there[count - 1].digest).order_by(table.digest)
            rows = (await connection.execute(whole)).all()
        return [referrer_from_row(row) for row in rows], count < len(there)

    async def delete_manifest(self, repository: str, digest: str, actor: Actor = SERVER) -> bool:
        """Remove a manifest and the tags that point at it; whether it was there."""
        now = datetime.now(UTC)
        async with self._database.write() as connection:
            identity = (await connection.execute(select(_id_of(repository)))).scalar()
            changed(connection, TOPIC, repository)
            if identity is None:
                return False
            await check_removal(connection, await rules_in(connection), repository, identity, digest)
            mine = tags.c.repository_id == identity, tags.c.digest == digest
            names = (await connection.execute(select(tags.c.name).where(*mine).order_by(tags.c.name))).scalars().all()
            if await drop_manifests(connection, identity, [digest]) == 0:
                return False
            done = [Activity(now, AuditAction.UNTAG, actor, repository, name, before=digest) for name in names]
            done.append(Activity(now, AuditAction.DELETE, actor, repository, digest=digest))
            await connection.run_sync(record, done)
        return True

    async def unlink_blob(self, repository: str, digest: str) -> bool:
        """`repository` no longer serves this blob; whether it did."""
        async with self._database.write() as connection:
            identity = (await connection.execute(select(_id_of(repository)))).scalar()
            changed(connection, TOPIC, repository)
            if identity is None:
                return False
            await check_removal(connection, await rules_in(connection), repository, identity, digest)
            return await drop_links(connection, identity, [digest]) > 0


def manifest_from_row(row: Row[Any]) -> Manifest:
    """A row of `manifests` as a value."""
    return Manifest(row.digest, row.media_type, row.size, row.total, row.created_at, row.build_id)


def tag_from_row(row: Row[Any]) -> Tag:
    """A row of `tags` as a value."""
    return Tag(row.name, row.digest, row.updated_at, row.build_id)


def referrer_from_row(row: Row[Any]) -> Referrer:
    """A row of `manifests` as a value."""
    return Referrer(row.digest, row.media_type, row.size, row.artifact_type, row.annotations)


def _put(
    connection: Connection,
    row: Mapping[str, Any],
    links: Sequence[Mapping[str, object]],
    tags: Sequence[str],
    done: Sequence[Activity],
) -> None:
    """Write a manifest with its links, who pushed it, and where its tags point."""
    identity, digest, now = row["repository_id"], row["digest"], row["pushed_at"]
    keep = ("created_at", "build_id", "pulled_at")
    connection.execute(upsert(connection, manifests, "repository_id", "digest", keep=keep), row)
    if links:
        connection.execute(upsert(connection, manifest_links, "repository_id", "parent", "child"), links)
    _stored(connection, {digest: row["size"]}, now)
    record_pointing(connection, identity, done)
    rename_moved(connection, identity, digest, tags, now)
    pointed(connection, identity, digest, tags, None, now)


def _linked(connection: Connection, links: Sequence[tuple[str, str, int]], known: Mapping[str, int]) -> dict[str, int]:
    """Write the links of blobs, and that these are stored; the ids of the repositories, some of which `known` has."""
    now = datetime.now(UTC)
    identities = {
        name: known.get(name) or repository_id(connection, name) for name in sorted({name for name, _, _ in links})
    }
    rows = {
        (name, digest): {"repository_id": identities[name], "digest": digest, "size": size, "linked_at": now}
        for name, digest, size in links
    }
    ordered = [rows[key] for key in sorted(rows)]
    with together(connection):
        connection.execute(upsert(connection, repository_blobs, "repository_id", "digest"), ordered)
        _stored(connection, {digest: size for _, digest, size in links}, now)
    return identities


def _stored(connection: Connection, sizes: Mapping[str, int], now: datetime) -> None:
    rows = [{"digest": digest, "size": size, "stored_at": now} for digest, size in sorted(sizes.items())]
    connection.execute(upsert(connection, blobs, "digest"), rows)


async def _known(connection: AsyncConnection, table: Table, repository: str, links: list[Link]) -> set[str]:
    known: set[str] = set()
    for some in parts([link.digest for link in links]):
        query = select(table.c.digest).where(table.c.repository_id == _id_of(repository), table.c.digest.in_(some))
        known.update((await connection.execute(query)).scalars())
    return known


async def _total(connection: AsyncConnection, identity: int, links: list[Link]) -> int:
    """The bytes behind all links: a child manifest counts with its own layers.

    What senders say is believed up to 16 TiB, so that no sum of sums is too large for the database.
    """
    total = sum(link.size for link in links if not link.manifest)
    for some in parts([link.digest for link in links if link.manifest]):
        query = select(func.coalesce(func.sum(manifests.c.total), 0)).where(
            manifests.c.repository_id == identity, manifests.c.digest.in_(some)
        )
        total += int((await connection.execute(query)).scalar_one())
    return min(total, MOST_BYTES)
