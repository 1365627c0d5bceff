"""A registry for one test and a client that may do everything there, or a whole server with its API.

Files that need another one have their own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from lumper.model.people.people import Role
from parts.processes.programs import Run, programs
from parts.registries.live_registry import LiveRegistry, RegistryClient, live_registry
from parts.web.live_api import Api, live_api


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[LiveRegistry]:
    async with live_registry(tmp_path) as running:
        yield running


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


@pytest.fixture
def admin(live: LiveRegistry, session: aiohttp.ClientSession) -> RegistryClient:
    return RegistryClient(session, live.url, live.tokens[Role.ADMIN])


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with live_api(tmp_path) as served:
        yield served


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return programs(tmp_path / "home")
