"""The server's side of builds over the history of one test."""

from __future__ import annotations

import pytest

from lumper.line.history import History
from lumper.model.events import WorkerOnline
from lumper.roles.acceptance import Acceptance
from parts.line.desk import Desk


@pytest.fixture
async def desk(history: History) -> Desk:
    await history.builds.online(WorkerOnline("w", "boot", 100))
    return Desk(history, Acceptance(history, turn=0.0))
