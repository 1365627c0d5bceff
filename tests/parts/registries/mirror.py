"""A registry that mirrors another one, as tests ask for it, and what is pulled from it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from lumper.registry.remote.connection import RetryPolicy
from parts.registries.live_registry import LiveRegistry, RegistryClient

QUICK = RetryPolicy(attempts=2, longest=0.1, connect=60, idle=60)
Pulling = AbstractAsyncContextManager[tuple[LiveRegistry, RegistryClient]]
Mirror = Callable[..., Pulling]


async def body(client: RegistryClient, path: str, **options: Any) -> bytes:
    async with client.request("GET", path, **options) as response:
        assert response.status == 200, await response.text()
        return bytes(await response.read())


async def digest(client: RegistryClient, path: str) -> str:
    async with client.request("HEAD", path) as response:
        assert response.status == 200
        return str(response.headers["Docker-Content-Digest"])
