"""Which builds still want something told of their images beside them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import exists, select, update

from lumper.line.builds.builds import build_from_row
from lumper.model.builds.build import Attested, Build, BuildState
from lumper.model.images.image import PRIVATE_PREFIX
from lumper.store.database import Database
from lumper.store.tables import builds, projects, repositories, tags


class Origins:
    """The part of the table of builds about signatures and attestations."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def waiting(
        self,
        attested: Attested,
        limit: int = 20,
        *,
        but: Sequence[int] = (),
        give_way: timedelta = timedelta(),
    ) -> list[tuple[Build, str]]:
        """The oldest builds with an image of which so much is told, `but` for these; and their git URLs.

        While any build runs, only those that ended `give_way` ago, or longer.
        """
        others = builds.alias()
        running = exists().where(others.c.state == BuildState.RUNNING.value)
        in_time = builds.c.finished_at.is_(None) | (builds.c.finished_at <= datetime.now(UTC) - give_way)
        query = (
            select(builds, projects.c.url)
            .join(projects)
            .where(
                builds.c.attested == attested.value,
                builds.c.state == BuildState.SUCCEEDED.value,
                builds.c.verifies == 0,
                builds.c.id.not_in(but),
                *((in_time | ~running,) if give_way else ()),
            )
            .order_by(builds.c.id)
            .limit(limit)
        )
        async with self._database.read() as connection:
            return [(build_from_row(row), row.url) for row in await connection.execute(query)]

    async def told(self, build: Build, attested: Attested) -> None:
        """So much is told now of the image of this attempt."""
        mine = builds.c.id == build.id, builds.c.attempt == build.attempt
        async with self._database.write() as connection:
            await connection.execute(update(builds).where(*mine).values(attested=attested.value))

    async def build_of(self, image: str, digest: str) -> Build | None:
        """The newest build that made this image."""
        query = select(builds).where(builds.c.image == image, builds.c.digest == digest, builds.c.verifies == 0)
        async with self._database.read() as connection:
            row = (await connection.execute(query.order_by(builds.c.id.desc()).limit(1))).first()
        return build_from_row(row) if row else None

    async def tags_of(self, image: str, digest: str) -> list[str]:
        """The tags that point at it now, without those that are private to builds."""
        query = select(tags.c.name).join(repositories).where(repositories.c.name == image, tags.c.digest == digest)
        async with self._database.read() as connection:
            names = (await connection.execute(query.order_by(tags.c.name))).scalars()
            return [name for name in names if not name.startswith(PRIVATE_PREFIX)]
