"""Connections that hold on to the server without asking for anything are ended."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest
from aiohttp import web

from lumper.build.remotes import Remotes
from lumper.hooks.api.client import ForgeClient
from lumper.metrics import Metrics
from lumper.model.links import Links
from lumper.queue.brokers.memory import MemoryBroker
from lumper.registry.registry import Registry
from lumper.registry.remote.lookup import Lookup
from lumper.registry.remote.registry import RemoteRegistry
from lumper.registry.storage.memory import MemoryStorage
from lumper.roles import server
from lumper.roles.bases import Bases
from lumper.roles.forge import ForgeDesk
from lumper.roles.triggers import Triggers
from lumper.wiring.adapters import open_forge_api
from parts.live_api import live_api
from parts.running import running


@pytest.mark.parametrize(
    "said", [b"", b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX: a", b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET /"]
)
async def test_a_head_that_does_not_end_ends_with_its_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    monkeypatch.setattr(server, "_IDLE_SECONDS", 0.3)
    listener = socket.create_server(("127.0.0.1", 0))
    async with live_api(tmp_path) as api:
        registry = Registry(MemoryStorage(), api.history.images)
        desk = ForgeDesk(api.history, Links("http://x", "x", "x"), open_forge_api, ForgeClient())
        bases = Bases(api.history, Lookup(RemoteRegistry))
        triggers = Triggers(api.history, Remotes(tmp_path / "git"))
        role = server.Server(
            web.Application(), listener, api.history, registry, MemoryBroker(), Metrics(), triggers, desk, bases
        )
        async with running(role.run()):
            await role.ready.wait()
            reader, writer = await asyncio.open_connection(*listener.getsockname())
            writer.write(said)
            async with asyncio.timeout(10):
                came = await reader.read()
            writer.close()
    assert came.count(b"HTTP/1.1") == said.count(b"\r\n\r\n")
