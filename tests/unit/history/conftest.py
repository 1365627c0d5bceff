"""A database without more, and a project in the history: in each kind of database that there is."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from lumper.history.database import Database
from lumper.history.store import History
from lumper.model.source import Project, parse_git_url


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    opened = Database(database_url)
    await opened.migrate()
    yield opened
    await opened.close()


@pytest.fixture
async def project(history: History) -> Project:
    return await history.projects.add(parse_git_url("https://git.example.org/owner/app.git"))
