"""The registry's metadata of each kind, with the doors by which builds and rollouts need images, and its garbage."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lumper.line.history import open_history
from lumper.model.images.garbage import Sweep
from lumper.model.links import Links
from lumper.model.source import Push, parse_git_url
from lumper.queue.codec import encode
from lumper.registry.catalog.tagging import move_tags
from lumper.registry.metadata.memory import MemoryMetadata
from lumper.registry.port import Metadata
from lumper.store.tables import builds, rollouts, services
from parts.servers.postgresql import PostgresServer

SOON = timedelta(seconds=60)


@dataclass
class Known:
    """The metadata under test; how a build begins and ends with a digest, and a rollout of a digest is queued."""

    metadata: Metadata
    begun: Callable[[], Awaitable[int]]
    ended: Callable[[int, str], Awaitable[None]]
    rolled_out: Callable[[str], Awaitable[None]]
    moved: Callable[[str, str, Sequence[str], int], Awaitable[object]]

    async def found(self, *, untagged: bool = False, repository: str = "one") -> list[tuple[str, str]]:
        """The garbage in a minute, if nothing happens until then: the same if only what is new is looked at."""
        begun, soon = datetime.now(UTC) - SOON, datetime.now(UTC) + SOON
        found = await self.metadata.garbage(repository, Sweep(soon, untagged=untagged))
        lately = await self.metadata.garbage(repository, Sweep(soon, untagged=untagged, since=begun))
        assert set(lately) == set(found)
        assert not found or repository in await self.metadata.restless(Sweep(soon, since=begun, untagged=untagged))
        return [(one.kind.value, one.name) for one in found]

    async def collect(self, *, untagged: bool = False, repository: str = "one") -> list[tuple[str, str]]:
        """Everything that is garbage in a minute goes at once, and what is garbage then, until there is none."""
        gone: list[tuple[str, str]] = []
        while True:
            before = datetime.now(UTC) + SOON
            found = await self.metadata.garbage(repository, Sweep(before, untagged=untagged))
            removed = await self.metadata.collect(repository, found, Sweep(before, untagged=untagged))
            assert removed == found
            if not removed:
                return gone
            gone += [(one.kind.value, one.name) for one in removed]

    async def idle(self) -> list[str]:
        begun, soon = datetime.now(UTC) - SOON, datetime.now(UTC) + SOON
        found = await self.metadata.idle_blobs(soon)
        assert await self.metadata.idle_blobs(soon, since=begun) == found
        assert await self.metadata.idle_blobs(soon, since=soon) == []
        return [digest for digest, _ in found]


@asynccontextmanager
async def memory(_folder: Path, _request: pytest.FixtureRequest) -> AsyncIterator[Known]:
    metadata = MemoryMetadata()

    async def begun() -> int:
        metadata.running.add(1)
        return 1

    async def ended(build_id: int, digest: str) -> None:
        metadata.running.discard(build_id)
        metadata.needed.add(digest)

    async def rolled_out(digest: str) -> None:
        metadata.needed.add(digest)

    yield Known(metadata, begun, ended, rolled_out, metadata.move_tags)


@asynccontextmanager
async def sqlite(folder: Path, _request: pytest.FixtureRequest) -> AsyncIterator[Known]:
    async with _database(f"sqlite:///{folder}/lumper.db", folder) as known:
        yield known


@asynccontextmanager
async def postgresql(folder: Path, request: pytest.FixtureRequest) -> AsyncIterator[Known]:
    server: PostgresServer = request.getfixturevalue("postgres")
    async with _database(server.ready(), folder) as known:
        yield known


@asynccontextmanager
async def _database(url: str, folder: Path) -> AsyncIterator[Known]:
    history = open_history(url, folder / "logs", Links("http://l", "l", "l"), encode)
    await history.database.migrate()

    async def begun() -> int:
        project = await history.projects.add(parse_git_url("https://git.example.org/owner/app.git"))
        async with history.database.write() as connection:
            push = Push("owner/app", "refs/tags/v1", "a" * 40)
            return (await history.builds.queue(connection, project, push))[0]

    async def ended(build_id: int, digest: str) -> None:
        async with history.database.write() as connection:
            state = "succeeded" if digest else "failed"
            await connection.execute(builds.update().where(builds.c.id == build_id).values(state=state, digest=digest))

    async def rolled_out(digest: str) -> None:
        async with history.database.write() as connection:
            await connection.execute(services.insert().values(name="web", generation=1))
            await connection.execute(
                rollouts.insert().values(
                    service="web", release={}, digest=digest, generation=1, state="queued", created_at=datetime.now(UTC)
                )
            )

    async def moved(repository: str, digest: str, names: Sequence[str], build_id: int) -> None:
        async with history.database.write() as connection:
            await move_tags(connection, repository, digest, names, build_id, datetime.now(UTC))

    yield Known(history.images, begun, ended, rolled_out, moved)
    await history.database.close()
