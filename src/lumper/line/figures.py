"""How much there is of what: counted in the database, for those who watch."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import exists, func, select

from lumper.model.images.image import PRIVATE_PREFIX
from lumper.store.database import Database
from lumper.store.tables import blobs, builds, manifests, outbox, repositories, repository_blobs, tags

LARGEST = 20  # repositories that are told by name
_PULLED = (repositories, tags, manifests, repository_blobs)


@dataclass(frozen=True)
class RegistryFigures:
    """What the registry holds. `largest` has the sizes of the largest repositories by name."""

    repositories: int
    tags: int
    manifests: int
    blobs: int
    size: int
    largest: dict[str, int]


class Figures:
    """Counts; those of the registry take about a second with a million blobs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def answers(self) -> None:
        """Look into each table that a pull needs, and count nothing. Raises StorageError if one cannot be read."""
        await self._database.rows(select(*(exists(select(table)) for table in _PULLED)))

    async def registry(self) -> RegistryFigures:
        """What the registry holds. Raises StorageError."""
        size = func.sum(repository_blobs.c.size)
        public = tags.c.name.not_like(PRIVATE_PREFIX.replace("_", r"\_") + "%", escape="\\")
        largest = (
            select(repositories.c.name, size)
            .join(repository_blobs, repository_blobs.c.repository_id == repositories.c.id)
            .group_by(repositories.c.id, repositories.c.name)
            .order_by(size.desc())
            .limit(LARGEST)
        )
        async with self._database.read() as connection:
            count, total = (
                await connection.execute(select(func.count(), func.coalesce(func.sum(blobs.c.size), 0)))
            ).one()
            return RegistryFigures(
                repositories=(await connection.scalar(select(func.count()).select_from(repositories))) or 0,
                tags=(await connection.scalar(select(func.count()).select_from(tags).where(public))) or 0,
                manifests=(await connection.scalar(select(func.count()).select_from(manifests))) or 0,
                blobs=count,
                size=int(total),
                largest={name: int(taken) for name, taken in await connection.execute(largest)},
            )

    async def builds(self) -> dict[str, int]:
        """Builds by state. Raises StorageError."""
        query = select(builds.c.state, func.count()).group_by(builds.c.state)
        async with self._database.read() as connection:
            return {state: int(number) for state, number in await connection.execute(query)}

    async def outbox(self) -> int:
        """Messages on their way to the queue. Raises StorageError."""
        async with self._database.read() as connection:
            return (await connection.scalar(select(func.count()).select_from(outbox))) or 0
