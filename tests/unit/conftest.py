"""The history in a database of its own: in each kind of database that there is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lumper.history.store import History, open_history
from lumper.model.links import Links
from lumper.queue.codec import encode


@pytest.fixture
async def history(tmp_path: Path, database_url: str) -> AsyncIterator[History]:
    opened = open_history(
        database_url, tmp_path / "logs", Links("http://lumper.test", "lumper.test", "127.0.0.1:5080"), encode
    )
    await opened.database.migrate()
    yield opened
    await opened.database.close()
