"""A database, the history in it, and a project there: in each kind of database that there is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lumper.history.database import Database
from lumper.history.store import History, open_history
from lumper.model.links import Links
from lumper.model.source import Project, parse_git_url
from lumper.queue.codec import encode


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    opened = Database(database_url)
    await opened.migrate()
    yield opened
    await opened.close()


@pytest.fixture
async def history(tmp_path: Path, database_url: str) -> AsyncIterator[History]:
    opened = open_history(
        database_url, tmp_path / "logs", Links("http://lumper.test", "lumper.test", "127.0.0.1:5080"), encode
    )
    await opened.database.migrate()
    yield opened
    await opened.database.close()


@pytest.fixture
async def project(history: History) -> Project:
    return await history.projects.add(parse_git_url("https://git.example.org/owner/app.git"))
