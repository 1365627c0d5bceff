"""Blobs that no manifest refers to, and the policy by which they go at once."""

from __future__ import annotations

from datetime import timedelta

from lumper.registry.gc.collector import Policy
from lumper.registry.registry import Registry
from parts.registries.live_registry import digest_of
from parts.registries.pieces import pieces

NOW = Policy(timedelta(0), untagged=True)


async def push(registry: Registry, data: bytes, repository: str = "one") -> str:
    session = await registry.blobs.begin(repository, "me")
    await registry.blobs.append(session, 0, pieces(data))
    return (await registry.blobs.finish(session, digest_of(data))).digest
