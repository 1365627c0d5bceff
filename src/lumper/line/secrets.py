"""Secrets for builds: written, listed without their values, and opened for one attempt of a build only."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, delete, func, insert, or_, select

from lumper.accounts.activity import record
from lumper.errors import Conflict, Invalid, NotFound
from lumper.model.builds.build import BuildState
from lumper.model.builds.secrets import (
    MOST_BYTES,
    GivenSecrets,
    Kind,
    Needed,
    Secret,
    is_secret_name,
    key_problem,
    may_have,
    registry_host,
)
from lumper.model.images.activity import SERVER, Activity, Actor, AuditAction
from lumper.model.images.tag_moves import taken_tags
from lumper.model.patterns import pattern_problem
from lumper.registry.catalog.tagging import succeeded_tags
from lumper.store.connection import AsyncConnection
from lumper.store.database import Database
from lumper.store.sealing import Sealer
from lumper.store.tables import builds, projects, secrets

_ROWS = select(secrets, projects.c.name.label("project")).outerjoin(projects, projects.c.id == secrets.c.project_id)
_LONGEST_USER = 255  # characters


class Secrets:
    """The table of secrets."""

    def __init__(self, database: Database, sealer: Sealer) -> None:
        self._database = database
        self._sealer = sealer

    async def set(
        self,
        project: str,
        kind: Kind,
        name: str,
        value: bytes,
        *,
        username: str = "",
        branches: Sequence[str] = (),
        actor: Actor = SERVER,
    ) -> Secret:
        """Keep a secret of a project ("": of all of them, for logins), in place of one of this name.

        Raises Invalid, NotFound, StorageError.
        """
        name = _checked(project, kind, name, value, username, branches)
        now = datetime.now(UTC)
        async with self._database.write() as connection:
            project_id, project = await _project(connection, project)
            sealed = self._sealer.seal(value, _about(project_id, kind, name))
            await connection.execute(_one(project_id, kind, name))
            row = {
                "project_id": project_id, "kind": kind.value, "name": name, "username": username,
                "branches": list(branches), "sealed": sealed, "changed_at": now, "changed_by": actor.name,
            }  # fmt: skip
            await connection.execute(insert(secrets), row)
            await _tell(connection, project, kind, name, "set", actor)
        return Secret(project, kind, name, username, tuple(branches), now, actor.name)

    async def all(self, project: str = "") -> list[Secret]:
        """Those that builds of a project may be given, or all; without their values. Raises NotFound."""
        query = _ROWS.order_by(func.coalesce(projects.c.name, ""), secrets.c.kind, secrets.c.name)
        async with self._database.read() as connection:
            if project:
                project_id, _ = await _project(connection, project)
                query = query.where(_of(project_id))
            return [_secret(row) for row in await connection.execute(query)]

    async def remove(self, project: str, kind: Kind, name: str, actor: Actor = SERVER) -> None:
        """Forget a secret. Raises NotFound."""
        async with self._database.write() as connection:
            project_id, project = await _project(connection, project)
            name = _host(name) if kind is Kind.LOGIN else name
            if (await connection.execute(_one(project_id, kind, name))).rowcount == 0:
                raise NotFound(f"There is no secret {name[:100]!r}.", hint="`lumper secret list` shows all.")
            await _tell(connection, project, kind, name, "removed", actor)

    async def entrusted(self, build_id: int, attempt: int, needed: Needed) -> GivenSecrets:
        """What an attempt that goes on is given: what it needs, and all its logins.

        A login of the project wins over one of all projects. Raises Conflict if the attempt has ended, StorageError.
        """
        wanted = {Kind.VALUE: needed.values, Kind.SSH: needed.keys}
        attempted = select(builds.c.project_id, builds.c.ref, builds.c.state, builds.c.image).where(
            builds.c.id == build_id, builds.c.attempt == attempt
        )
        async with self._database.read() as connection:
            build = (await connection.execute(attempted)).first()
            if build is None or BuildState(build.state).final:
                raise Conflict(f"Build {build_id} has no attempt {attempt} that goes on.")
            query = select(secrets).where(_of(build.project_id)).order_by(secrets.c.project_id.is_not(None))
            rows = list(await connection.execute(query))
            before = await succeeded_tags(connection, build.image) if needed.taken else ()
        asked = [row for row in rows if row.kind == Kind.LOGIN or row.name in wanted[Kind(row.kind)]]
        given = [row for row in asked if may_have(build.ref, row.branches)]
        return GivenSecrets(
            values={row.name: self._value(row) for row in given if row.kind == Kind.VALUE},
            keys={row.name: self._value(row) for row in given if row.kind == Kind.SSH},
            logins={row.name: (row.username, self._value(row).decode()) for row in given if row.kind == Kind.LOGIN},
            refused=frozenset(row.name for row in asked if row not in given and row.kind != Kind.LOGIN),
            taken=taken_tags(build.ref, before),
        )

    async def login(self, project_id: str, host: str) -> tuple[str, str] | None:
        """User name and password of a project for the registry at `host`, as `registry_host` writes it, or None.

        A login of the project wins over one of all projects. Raises StorageError.
        """
        wanted = secrets.c.kind == Kind.LOGIN.value, secrets.c.name == host
        query = select(secrets).where(_of(project_id), *wanted).order_by(secrets.c.project_id.is_(None))
        async with self._database.read() as connection:
            row = (await connection.execute(query)).first()
        return None if row is None else (row.username, self._value(row).decode())

    def _value(self, row: Row[Any]) -> bytes:
        return self._sealer.open(row.sealed, _about(row.project_id, Kind(row.kind), row.name))


def _checked(project: str, kind: Kind, name: str, value: bytes, username: str, branches: Sequence[str]) -> str:
    """The name as it is kept. Raises Invalid."""
    if problems := [words for pattern in branches if (words := pattern_problem(pattern))]:
        raise Invalid(f"The branches are not understood: {'; '.join(problems)}.", hint="See docs/how-to/secrets.md.")
    if not value or len(value) > MOST_BYTES:
        raise Invalid(f"A secret has at least one byte and at most {MOST_BYTES}.")
    if kind is not Kind.LOGIN:
        if not project:
            raise Invalid("Only credentials for registries can be of all projects.", hint="Name a project.")
        if not is_secret_name(name):
            hint = "At most 64 letters, digits, and _ . -, a letter, a digit or _ first."
            raise Invalid(f"{name[:100]!r} is not the name of a secret.", hint=hint)
        if kind is Kind.SSH and (problem := key_problem(value)):
            hint = "`ssh-keygen -t ed25519 -N '' -f FILE` makes one; give FILE, and FILE.pub to the git server."
            raise Invalid(f"What should be an ssh key {problem}.", hint=hint)
        return name
    if not username or len(username) > _LONGEST_USER or not username.isprintable() or ":" in username:
        raise Invalid("A user name has no colon in it, and nothing that does not print.")
    try:
        value.decode()
    except UnicodeDecodeError as exc:
        raise Invalid("A password is text.") from exc
    return _host(name)


def _host(name: str) -> str:
    try:
        return registry_host(name)
    except ValueError as exc:
        raise Invalid(str(exc)) from exc


async def _project(connection: AsyncConnection, name: str) -> tuple[str | None, str]:
    """Id and name of a project; None for that of all of them. Raises NotFound."""
    if not name:
        return None, ""
    query = select(projects.c.id, projects.c.name).where(or_(projects.c.name == name, projects.c.id == name))
    row = (await connection.execute(query)).first()
    if row is None:
        raise NotFound(f"There is no project {name!r}.", hint="`lumper project list` shows all.")
    return row.id, row.name


def _of(project_id: str | None) -> Any:
    """The condition for those that builds of a project may be given."""
    return or_(secrets.c.project_id == project_id, secrets.c.project_id.is_(None))


def _one(project_id: str | None, kind: Kind, name: str) -> Any:
    own = secrets.c.project_id.is_(None) if project_id is None else secrets.c.project_id == project_id
    return delete(secrets).where(own, secrets.c.kind == kind.value, secrets.c.name == name)


def _about(project_id: str | None, kind: Kind, name: str) -> str:
    return json.dumps([project_id, kind.value, name])


def _secret(row: Row[Any]) -> Secret:
    kind, branches = Kind(row.kind), tuple(row.branches)
    return Secret(row.project or "", kind, row.name, row.username, branches, row.changed_at, row.changed_by)


async def _tell(connection: AsyncConnection, project: str, kind: Kind, name: str, what: str, actor: Actor) -> None:
    whose = f"of {project}" if project else "of all projects"
    done = Activity(datetime.now(UTC), AuditAction.SECRET, actor, detail=f"{kind} {name} {whose}: {what}")
    await connection.run_sync(record, [done])
