"""The registry's metadata of each kind, with the door by which an accepted build comes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lumper.registry.catalog.images import ImageHistory
from lumper.registry.catalog.tagging import drop_private_tags, move_tags
from lumper.registry.metadata.memory import MemoryMetadata
from lumper.registry.port import Metadata
from lumper.store.database import Database
from parts.servers.postgresql import PostgresServer


@dataclass
class Known:
    """The metadata under test, and how a build's acceptance reaches them."""

    metadata: Metadata
    moved: Callable[[str, str, Sequence[str], int], Awaitable[object]]
    dropped: Callable[[str, str], Awaitable[object]]


@asynccontextmanager
async def memory(_folder: Path, _request: pytest.FixtureRequest) -> AsyncIterator[Known]:
    metadata = MemoryMetadata()
    yield Known(metadata, metadata.move_tags, metadata.delete_tag)


@asynccontextmanager
async def sqlite(folder: Path, _request: pytest.FixtureRequest) -> AsyncIterator[Known]:
    async with _database(f"sqlite:///{folder}/lumper.db") as known:
        yield known


@asynccontextmanager
async def postgresql(_folder: Path, request: pytest.FixtureRequest) -> AsyncIterator[Known]:
    server: PostgresServer = request.getfixturevalue("postgres")
    async with _database(server.ready()) as known:
        yield known


@asynccontextmanager
async def _database(url: str) -> AsyncIterator[Known]:
    opened = Database(url)
    await opened.migrate()

    async def move(repository: str, digest: str, tags: Sequence[str], build_id: int) -> None:
        async with opened.write() as connection:
            await move_tags(connection, repository, digest, tags, build_id, datetime.now(UTC))

    async def drop(repository: str, name: str) -> None:
        async with opened.write() as connection:
            await drop_private_tags(connection, repository, [name])

    yield Known(ImageHistory(opened), move, drop)
    await opened.close()


KINDS = [memory, sqlite, pytest.param(postgresql, marks=pytest.mark.postgresql)]
