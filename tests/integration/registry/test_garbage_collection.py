"""Garbage is collected all the time, with a short grace, under pushes, pulls and deletions: not one blob is missing."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import aiohttp

from lumper.model.people.people import Role
from lumper.registry.gc.collector import Policy
from parts.registries.live_registry import RegistryClient, live_registry
from parts.registries.registry_load import Load, given_back, under_load

GRACE = timedelta(seconds=2)
EVERY = 0.2  # seconds between two collections


async def test_no_blob_is_missing_under_load_and_space_is_given_back(tmp_path: Path) -> None:
    policy = Policy(GRACE, untagged=True)
    async with live_registry(tmp_path, policy=policy) as live, aiohttp.ClientSession() as session:
        client = RegistryClient(session, live.url, live.tokens[Role.ADMIN])
        load = Load(client, GRACE, seconds=12.0, most_seconds=75.0)

        await under_load(live, load, EVERY)

        assert load.enough, (dict(load.done), dict(load.freed))
        assert await given_back(live, load, EVERY, longest=60.0)
