"""The history in a database of its own, of each kind that there is; one database as two processes have it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lumper.line.history import History, open_history
from lumper.model.links import Links
from lumper.model.source import Project, parse_git_url
from lumper.queue.codec import encode
from lumper.store.database import Database
from parts.servers.postgresql import PostgresServer


@pytest.fixture
async def history(tmp_path: Path, database_url: str) -> AsyncIterator[History]:
    opened = open_history(
        database_url, tmp_path / "logs", Links("http://lumper.test", "lumper.test", "127.0.0.1:5080"), encode
    )
    await opened.database.migrate()
    yield opened
    await opened.database.close()


@pytest.fixture
async def two(postgres: PostgresServer) -> AsyncIterator[tuple[Database, Database]]:
    """The same database, as two processes have it."""
    url = await asyncio.to_thread(postgres.ready)
    one, other = Database(url), Database(url)
    await one.listen()
    await other.listen()
    yield one, other
    await one.close()
    await other.close()


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    opened = Database(database_url)
    await opened.migrate()
    yield opened
    await opened.close()


@pytest.fixture
async def project(history: History) -> Project:
    return await history.projects.add(parse_git_url("https://git.example.org/owner/app.git"))
