"""Several servers as processes of their own, on one PostgreSQL and one bucket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from parts.processes.lumper_process import LumperServer
from parts.registries.live_registry import RegistryClient
from parts.s3.s3_service import Bucket


def shared_settings(database_url: str, bucket: Bucket, **more: str) -> dict[str, str]:
    """The settings that all servers have alike."""
    return {
        "database.url": database_url,
        "registry.storage": f"s3://{bucket.name}/images",
        "registry.endpoint": bucket.endpoint,
        "registry.access_key_id": bucket.access_key_id,
        "registry.secret_access_key": bucket.secret_access_key,
        "registry.redirect": "false",
        **more,
    }


def token_of(server: LumperServer, role: str = "operator") -> str:
    """The token that this server wrote into its own data folder."""
    return (server.data / "tokens" / role).read_text().strip()


@asynccontextmanager
async def client_of(server: LumperServer) -> AsyncIterator[RegistryClient]:
    """The registry of this server, for who may push."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(60)) as session:
        yield RegistryClient(session, server.url, token_of(server))
