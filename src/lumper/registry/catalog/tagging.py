"""Tags: where they point, moved and removed; who did so is told in the same transaction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import ColumnElement, Connection, delete, select, update

from lumper.accounts.activity import record, record_pointing
from lumper.errors import Conflict, NotFound
from lumper.model.builds.build import BuildState
from lumper.model.images.activity import SERVER, Activity, Actor, AuditAction
from lumper.model.refs import TAG_PREFIX
from lumper.registry.catalog.collection import TOPIC, id_of, repository_made
from lumper.registry.catalog.dropping import drop_stale_tags
from lumper.registry.catalog.renames import rename
from lumper.registry.catalog.rules import check_moves, rules_in
from lumper.store.connection import AsyncConnection
from lumper.store.database import Database, changed, upsert
from lumper.store.tables import builds, manifests, tags

_GONE = "What was deleted, or collected since the tag left it, has to be pushed again."


class TagHistory:
    """Tags that people move and remove."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def point_tag(
        self, repository: str, name: str, digest: str, actor: Actor, *, expected: str | None = None, detail: str = ""
    ) -> None:
        """Let a tag point at a manifest that is there, if it points at `expected` ("": nowhere; None: anywhere) now.

        Raises NotFound, Conflict, RuleForbids.
        """
        now = datetime.now(UTC)
        async with self._database.write() as connection:
            known = here(repository, digest)
            used = await connection.execute(update(manifests).where(*known).values(abandoned=False, retired=False))
            if used.rowcount == 0:
                raise NotFound(f"The repository {repository} has no manifest {digest}.", hint=_GONE)
            identity = await repository_made(connection, repository)
            await check_pointing(connection, repository, identity, name, expected)
            await check_moves(connection, await rules_in(connection), repository, identity, [name], digest)
            done = [Activity(now, AuditAction.TAG, actor, repository, name, digest, detail=detail)]
            await connection.run_sync(record_pointing, identity, done)
            await point(connection, identity, digest, [name], None, now)
            await rename(connection, identity, [name])
            changed(connection, TOPIC, repository)

    async def delete_tag(
        self, repository: str, name: str, actor: Actor = SERVER, *, expected: str | None = None
    ) -> bool:
        """Remove a tag, if it points at `expected` (None: anywhere); whether it was there. Raises Conflict."""
        async with self._database.write() as connection:
            identity = (await connection.execute(select(id_of(repository)))).scalar()
            await check_pointing(connection, repository, identity, name, expected)
            if identity is not None:
                await check_moves(connection, await rules_in(connection), repository, identity, [name], "")
            return await drop_tag(connection, repository, name, actor)


async def check_pointing(
    connection: AsyncConnection, repository: str, identity: int | None, name: str, expected: str | None
) -> None:
    """Raise Conflict unless the tag points at `expected` ("": nowhere; None: anywhere)."""
    if expected is None:
        return
    pointed = select(tags.c.digest).where(tags.c.repository_id == identity, tags.c.name == name)
    if ((await connection.execute(pointed)).scalar() or "") != expected:
        raise Conflict(f"The tag {repository}:{name} has moved meanwhile.", hint="Look at it again.")


async def move_tags(
    connection: AsyncConnection,
    repository: str,
    digest: str,
    tags: Sequence[str],
    build_id: int,
    now: datetime,
    actor: Actor = SERVER,
) -> int:
    """Within the caller's transaction: let `tags` point at the manifest that the build made; the bytes of the image.

    Raises Conflict if the manifest is not in the repository, RuleForbids; the transaction can go on then.
    """
    identity = (await connection.execute(select(id_of(repository)))).scalar()
    if identity is not None:
        await check_moves(connection, await rules_in(connection), repository, identity, tags, digest)
    marking = update(manifests).where(*here(repository, digest))
    values = {"build_id": build_id, "abandoned": False, "retired": False}
    size = await connection.scalar(marking.values(**values).returning(manifests.c.total))
    if identity is None or size is None:
        raise Conflict(f"The repository {repository} has no manifest {digest}.")
    done = [
        Activity(now, AuditAction.TAG, actor, repository, name, digest, detail=f"build {build_id}") for name in tags
    ]
    await connection.run_sync(record_pointing, identity, done)
    await point(connection, identity, digest, tags, build_id, now)
    await rename(connection, identity, tags)
    changed(connection, TOPIC, repository)
    return int(size)


async def drop_private_tags(connection: AsyncConnection, repository: str, names: Sequence[str]) -> None:
    """Within the caller's transaction: remove tags that a build has pushed under, those that there are.

    Garbage collection takes what only they pointed at, also where images without a tag are kept: nobody was told of it.
    """
    identity = (await connection.execute(select(id_of(repository)))).scalar()
    if identity is not None:
        changed(connection, TOPIC, repository)
        await drop_stale_tags(connection, identity, names)


def here(repository: str, digest: str) -> tuple[ColumnElement[bool], ...]:
    return manifests.c.repository_id == id_of(repository), manifests.c.digest == digest


async def drop_tag(connection: AsyncConnection, repository: str, name: str, actor: Actor = SERVER) -> bool:
    here = tags.c.repository_id == id_of(repository), tags.c.name == name
    gone = delete(tags).where(*here).returning(tags.c.repository_id, tags.c.digest)
    row = (await connection.execute(gone)).first()
    changed(connection, TOPIC, repository)
    if row is None:
        return False
    await rename(connection, row.repository_id, [name])
    done = Activity(datetime.now(UTC), AuditAction.UNTAG, actor, repository, name, before=row.digest)
    await connection.run_sync(record, [done])
    return True


async def point(
    connection: AsyncConnection, identity: int, digest: str, names: Sequence[str], build_id: int | None, now: datetime
) -> None:
    await connection.run_sync(pointed, identity, digest, names, build_id, now)


def pointed(
    connection: Connection, identity: int, digest: str, names: Sequence[str], build_id: int | None, now: datetime
) -> None:
    if names:
        connection.execute(
            upsert(connection, tags, "repository_id", "name"),
            [
                {"repository_id": identity, "name": name, "digest": digest, "updated_at": now, "build_id": build_id}
                for name in names
            ],
        )


async def succeeded_tags(connection: AsyncConnection, image: str) -> Sequence[tuple[str, Sequence[str]]]:
    """The git tags of all succeeded builds of a registry repository, and the image tags that each moved."""
    query = select(builds.c.ref, builds.c.tags).where(
        builds.c.image == image,
        builds.c.verifies == 0,
        builds.c.state == BuildState.SUCCEEDED.value,
        builds.c.ref.startswith(TAG_PREFIX, autoescape=True),
    )
    return [(row.ref.removeprefix(TAG_PREFIX), row.tags) for row in await connection.execute(query)]
