"""A registry behind a door that counts, slows, breaks and lies, and ours that mirrors it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from lumper.model.people.people import Role
from lumper.registry.gc.collector import Policy
from lumper.registry.remote.registry import RemoteRegistry
from lumper.registry.upstream import blobs, manifests
from lumper.registry.upstream.upstreams import Upstream
from parts.registries.live_registry import LiveRegistry, RegistryClient, live_registry
from parts.registries.mirror import QUICK, Mirror
from parts.registries.upstream import Door, upstream
from parts.suite.eventually import LONGEST


@pytest.fixture(autouse=True)
def long_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is believed for a moment is believed for the whole test, also where the machine stands still for a while."""
    monkeypatch.setattr(manifests, "_ABSENT_SECONDS", 10 * LONGEST)
    monkeypatch.setattr(manifests, "_STALE_SECONDS", 10 * LONGEST)
    monkeypatch.setattr(blobs, "_ABSENT_SECONDS", 10 * LONGEST)


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[tuple[Door, RegistryClient]]:
    async with upstream(tmp_path / "hub") as running:
        yield running


@pytest.fixture
def door(hub: tuple[Door, RegistryClient]) -> Door:
    return hub[0]


@pytest.fixture
def pusher(hub: tuple[Door, RegistryClient]) -> RegistryClient:
    return hub[1]


@pytest.fixture
def mirror(tmp_path: Path, door: Door) -> Mirror:
    """Our registry, with the hub under `hub/`; the settings are those of the upstream."""

    @asynccontextmanager
    async def mirror(
        policy: Policy | None = None, **settings: Any
    ) -> AsyncIterator[tuple[LiveRegistry, RegistryClient]]:
        data = tmp_path / "mirror"
        data.mkdir(exist_ok=True)
        one = Upstream("hub", RemoteRegistry(door.url, patience=QUICK), **{"patience": LONGEST, **settings})
        async with (
            live_registry(data, upstreams=[one], policy=policy) as live,
            aiohttp.ClientSession() as session,
        ):
            yield live, RegistryClient(session, live.url, live.tokens[Role.ADMIN])

    return mirror
