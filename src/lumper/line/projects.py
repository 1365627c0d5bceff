"""Projects: what Lumper builds, and for whom."""

from __future__ import annotations

import json
import secrets
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, delete, func, or_, select, update
from sqlalchemy.exc import IntegrityError

from lumper.accounts.grants import PROJECT
from lumper.errors import Conflict, Invalid, NotFound
from lumper.line.schedule import next_time, schedule_problem
from lumper.model.builds.build import UNFINISHED
from lumper.model.images.image import is_repository, repository_name
from lumper.model.source import GitUrl, Project, parse_git_url
from lumper.model.trigger import BuildRules, rules_from_json, rules_to_json
from lumper.store.database import Database
from lumper.store.sealing import Sealer
from lumper.store.tables import builds, grants, projects

_LONGEST = 200  # characters of a name
_SHORTEST_SECRET = 16  # characters


def project_from_row(row: Row[tuple[object, ...]]) -> Project:
    """A row of `projects` as a value."""
    values = {name: row._mapping[name] for name in Project.__dataclass_fields__}
    return Project(**{**values, "rules": rules_from_json(values["rules"])})


_UNDER_WAY = select(func.min(builds.c.id)).where(builds.c.state.in_(UNFINISHED))


def _server(url: GitUrl) -> tuple[str, str]:
    """What credentials are bound to: the host, and the URL up to the repository's path."""
    return url.host, url.url.rpartition(url.path)[0]


class ProjectHistory:
    """The table of projects. Their secrets lie sealed in it, each to be opened by who needs it only."""

    def __init__(self, database: Database, sealer: Sealer) -> None:
        self._database = database
        self._sealer = sealer

    async def add(self, source: GitUrl, *, name: str = "", repository: str = "", image: str = "") -> Project:
        """Store a project with a new webhook secret.

        Raises Invalid for a name that is none, Conflict if its name or image is taken, StorageError.
        """
        path = source.path if not source.local else source.path.rsplit("/", 1)[-1]
        project = Project(
            id=secrets.token_hex(6),
            name=name or path,
            url=source.url,
            repository=repository or (source.path if source.local else path),
            image=image or repository_name(name or path),
            created_at=datetime.now(UTC),
            username=source.username,
            local=source.local,
        )
        _check(project)
        values = {
            **vars(project),
            "rules": {},
            "sealed_secret": self._seal(project.id, "secret", secrets.token_urlsafe(32)),
            "sealed_password": self._seal(project.id, "password", source.password),
            "sealed_token": b"",
        }
        async with self._database.write() as connection:
            try:
                await connection.execute(projects.insert().values(**values))
            except IntegrityError as exc:
                raise Conflict(
                    f"There is a project {project.name!r} (or one with the image {project.image!r}) already.",
                    hint="Choose another name with --name.",
                ) from exc
        return project

    async def all(self) -> list[Project]:
        """All projects by name."""
        async with self._database.read() as connection:
            return [
                project_from_row(row) for row in await connection.execute(select(projects).order_by(projects.c.name))
            ]

    async def get(self, name: str) -> Project:
        """The project of this name or id. Raises NotFound."""
        return project_from_row(await self._row(name))

    async def _row(self, name: str) -> Row[Any]:
        query = select(projects).where(or_(projects.c.name == name, projects.c.id == name))
        async with self._database.read() as connection:
            row = (await connection.execute(query)).first()
        if row is None:
            raise NotFound(f"There is no project {name!r}.", hint="`lumper project list` shows all.")
        return row

    async def like(self, repository: str) -> list[tuple[Project, str]]:
        """Projects whose repository's last part is that of `repository`, whatever the case, with their webhook secrets.

        "" is like all of them. Raises StorageError.
        """
        last = repository.rsplit("/", 1)[-1].lower()
        name = func.lower(projects.c.repository)
        query = select(projects)
        if repository:
            query = query.where(or_(name == last, name.endswith("/" + last, autoescape=True)))
        async with self._database.read() as connection:
            rows = list(await connection.execute(query))
        return [(project_from_row(row), self._open(row.id, "secret", row.sealed_secret)) for row in rows]

    async def with_webhook_secret(self, name: str) -> tuple[Project, str]:
        """The project with what signs the deliveries to it. Raises NotFound, StorageError."""
        row = await self._row(name)
        return project_from_row(row), self._open(row.id, "secret", row.sealed_secret)

    async def webhook_secret(self, project_id: str) -> str:
        """What signs the deliveries to a project. Raises NotFound, StorageError."""
        return self._open(project_id, "secret", (await self._row(project_id)).sealed_secret)

    async def git_login(self, project_id: str) -> tuple[str, str] | None:
        """User name and password for a project's git server, if it has any. Raises NotFound, StorageError."""
        row = await self._row(project_id)
        password = self._open(project_id, "password", row.sealed_password)
        return (row.username, password) if row.username or password else None

    async def with_forge_token(self, name: str) -> tuple[Project, str]:
        """The project with what opens the API of its forge, or "". Raises NotFound, StorageError."""
        row = await self._row(name)
        return project_from_row(row), self._open(row.id, "token", row.sealed_token)

    async def set_forge(self, name: str, forge: str, url: str, token: str, webhook: str) -> Project:
        """Let Lumper use the API of the project's forge, or no more, with "" for all. Raises NotFound, StorageError.

        `webhook` is the id of the one that Lumper has made there.
        """
        project = await self.get(name)
        told = {"forge": forge, "forge_url": url, "webhook": webhook}
        values = {**told, "sealed_token": self._seal(project.id, "token", token)}
        async with self._database.write() as connection:
            await connection.execute(update(projects).where(projects.c.id == project.id).values(**values))
        return replace(project, forge=forge, forge_url=url, webhook=webhook)

    async def set_rules(self, name: str, rules: BuildRules) -> Project:
        """Give a project other rules. Raises NotFound, Invalid."""
        problems = rules.problems() + ([f"schedule: {words}"] if (words := schedule_problem(rules.schedule)) else [])
        if problems:
            raise Invalid(f"The rules are not understood: {'; '.join(problems)}.", hint="See docs/how-to/triggers.md.")
        project = await self.get(name)
        due = next_time(rules.schedule, datetime.now(UTC)) if rules.schedule else None
        values = {"rules": rules_to_json(rules), "next_schedule": due}
        async with self._database.write() as connection:
            await connection.execute(update(projects).where(projects.c.id == project.id).values(**values))
        return replace(project, rules=rules)

    async def set_url(self, name: str, source: GitUrl) -> Project:
        """Let a project's repository be at another URL, with other credentials.

        Without any in the URL, those of now stay, as long as it is the same server. Raises NotFound, StorageError,
        Conflict while a build may still take new credentials to the old server.
        """
        row = await self._row(name)
        project, before = project_from_row(row), parse_git_url(row.url)
        same = _server(before) == _server(source)
        stays = same and not source.username and not source.password
        repository = source.path if project.repository == before.path else project.repository
        username = project.username if stays else source.username
        told = {"url": source.url, "local": source.local, "repository": repository, "username": username}
        values = told if stays else {**told, "sealed_password": self._seal(project.id, "password", source.password)}
        async with self._database.write() as connection:
            busy = await connection.scalar(_UNDER_WAY.where(builds.c.project_id == project.id))
            if busy is not None and not same:
                hint = f"Wait for its end, or cancel it: `lumper cancel {busy}`."
                raise Conflict(f"Build {busy} of the project waits or runs with the server of now.", hint=hint)
            await connection.execute(update(projects).where(projects.c.id == project.id).values(**values))
        return await self.get(project.id)

    async def set_secret(self, name: str, secret: str = "") -> tuple[Project, str]:
        """Give a project this webhook secret, or a new random one. Raises NotFound, Invalid, StorageError."""
        secret = secret or secrets.token_urlsafe(32)
        if len(secret) < _SHORTEST_SECRET or not secret.isascii() or not secret.isprintable() or " " in secret:
            hint = f"At least {_SHORTEST_SECRET} printable ASCII characters without spaces, on one line."
            raise Invalid("That is not the secret of a webhook.", hint=hint)
        project = await self.get(name)
        async with self._database.write() as connection:
            sealed = self._seal(project.id, "secret", secret)
            await connection.execute(update(projects).where(projects.c.id == project.id).values(sealed_secret=sealed))
        return project, secret

    async def remove(self, name: str) -> Project:
        """Forget a project with its builds and deliveries; its images stay. Raises NotFound."""
        project = await self.get(name)
        async with self._database.write() as connection:
            await connection.execute(delete(projects).where(projects.c.id == project.id))
            await connection.execute(delete(grants).where(grants.c.account == PROJECT + project.name))
        return project

    def _seal(self, project_id: str, what: str, text: str) -> bytes:
        return self._sealer.seal_text(text, _about(project_id, what))

    def _open(self, project_id: str, what: str, sealed: bytes) -> str:
        return self._sealer.open_text(sealed, _about(project_id, what))


def _about(project_id: str, what: str) -> str:
    return json.dumps(["project", project_id, what])


def _check(project: Project) -> None:
    for what, name in (("name", project.name), ("repository", project.repository)):
        if not name.isprintable() or name.strip(" /") != name or len(name) > _LONGEST:
            hint = f"At most {_LONGEST} printable characters, without spaces or slashes at its ends."
            raise Invalid(f"{name[:_LONGEST]!r} is not the {what} of a project.", hint=hint)
    if not is_repository(project.image) or len(project.image) > _LONGEST:
        hint = "Lower-case letters and digits, with . _ - and / between them, such as owner/app."
        raise Invalid(f"{project.image[:_LONGEST]!r} is not the name of an image repository.", hint=hint)
