"""Two registries behind doors, and both as a client sees them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lumper.registry.remote.auth import Credentials
from lumper.registry.remote.registry import RemoteRegistry
from parts.registries.copies import QUICK
from parts.registries.live_registry import RegistryClient
from parts.registries.upstream import Door, upstream


@pytest.fixture
async def old(tmp_path: Path) -> AsyncIterator[tuple[Door, RegistryClient]]:
    async with upstream(tmp_path / "old") as running:
        yield running


@pytest.fixture
async def new(tmp_path: Path) -> AsyncIterator[tuple[Door, RegistryClient]]:
    async with upstream(tmp_path / "new") as running:
        yield running


@pytest.fixture
async def here(old: tuple[Door, RegistryClient]) -> AsyncIterator[RemoteRegistry]:
    registry = RemoteRegistry(old[0].url, Credentials("any", old[0].token), patience=QUICK)
    yield registry
    await registry.close()


@pytest.fixture
async def there(new: tuple[Door, RegistryClient]) -> AsyncIterator[RemoteRegistry]:
    registry = RemoteRegistry(new[0].url, patience=QUICK)
    yield registry
    await registry.close()
