"""What is due by itself: tags that nobody told of, schedules, and base images that changed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, insert, or_, select, update

from lumper.line.builds.builds import build_from_row
from lumper.line.projects import project_from_row
from lumper.line.schedule import next_time
from lumper.model.builds.build import Build
from lumper.model.refs import TAG_PREFIX
from lumper.model.source import Project
from lumper.model.trigger import rules_from_json
from lumper.store.connection import AsyncConnection
from lumper.store.database import Database
from lumper.store.tables import builds, known_tags, projects


class TriggerHistory:
    """When each project was last looked at, and what there was then."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def unreconciled(self, older_than: timedelta) -> list[Project]:
        """The projects whose tags were not looked at for so long, the longest first."""
        before = datetime.now(UTC) - older_than
        query = select(projects).where(or_(projects.c.reconciled_at.is_(None), projects.c.reconciled_at < before))
        async with self._database.read() as connection:
            rows = await connection.execute(query.order_by(projects.c.reconciled_at.asc().nulls_first()))
            return [project for row in rows if (project := project_from_row(row)).rules.reconcile]

    async def known_tags(self, project_id: str) -> dict[str, str] | None:
        """The tags and their commits when the repository was last looked at; None before the first time."""
        async with self._database.read() as connection:
            seen = select(projects.c.reconciled_at).where(projects.c.id == project_id)
            if (await connection.execute(seen)).scalar() is None:
                return None
            query = select(known_tags.c.ref, known_tags.c.commit).where(known_tags.c.project_id == project_id)
            return {row.ref: row.commit for row in await connection.execute(query)}

    async def reconciled(
        self, connection: AsyncConnection, project_id: str, tags: Mapping[str, str] | None = None
    ) -> None:
        """In the caller's transaction: the repository was looked at now, and has these tags; None: it could not be."""
        if tags is not None:
            await connection.execute(delete(known_tags).where(known_tags.c.project_id == project_id))
            rows = [{"project_id": project_id, "ref": ref, "commit": commit} for ref, commit in tags.items()]
            if rows:
                await connection.execute(insert(known_tags), rows)
        now = datetime.now(UTC)
        await connection.execute(update(projects).where(projects.c.id == project_id).values(reconciled_at=now))

    async def built(self, project_id: str) -> dict[str, tuple[str, str]]:
        """What was built last, or is about to be, of each ref: the id that the delivery told, and the commit."""
        columns = builds.c.ref, builds.c.told_commit, builds.c.commit
        mine = builds.c.project_id == project_id, builds.c.verifies == 0
        query = select(*columns).where(*mine).order_by(builds.c.due_at, builds.c.id)
        async with self._database.read() as connection:
            return {row.ref: (row.told_commit, row.commit) for row in await connection.execute(query)}

    async def scheduled(self) -> list[Project]:
        """The projects whose time has come."""
        query = select(projects).where(projects.c.next_schedule <= datetime.now(UTC))
        async with self._database.read() as connection:
            return [project_from_row(row) for row in await connection.execute(query)]

    async def take_schedule(self, connection: AsyncConnection, project_id: str) -> None:
        """In the caller's transaction: this time was used; times that were missed meanwhile are not made up for.

        The next one is that of the rules of now: they may have been changed while git was asked.
        """
        mine = projects.c.id == project_id
        rules = (await connection.execute(select(projects.c.rules).where(mine))).scalar()
        schedule = rules_from_json(rules or {}).schedule
        due = next_time(schedule, datetime.now(UTC)) if schedule else None
        await connection.execute(update(projects).where(mine).values(next_schedule=due))

    async def newest_tag(self, project_id: str) -> Build | None:
        """The newest build of a tag that has given an image, also while that is built again, or could not be."""
        query = (
            select(builds)
            .where(
                builds.c.project_id == project_id,
                builds.c.digest != "",
                builds.c.verifies == 0,
                builds.c.ref.startswith(TAG_PREFIX, autoescape=True),
            )
            .order_by(builds.c.id.desc())
            .limit(1)
        )
        async with self._database.read() as connection:
            row = (await connection.execute(query)).first()
        return build_from_row(row) if row is not None else None

    async def with_base_images(self) -> list[Project]:
        """The projects that are built again when a base image changes."""
        async with self._database.read() as connection:
            rows = await connection.execute(select(projects))
            return [project for row in rows if (project := project_from_row(row)).rules.base_images]
