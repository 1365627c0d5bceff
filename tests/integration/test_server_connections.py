"""Connections that hold on to the server without asking for anything are ended."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import urllib.request
from pathlib import Path

import pytest
from aiohttp import web

from lumper.roles import server
from parts.lumper_process import LumperServer
from parts.running import running


@pytest.mark.parametrize(
    "said", [b"", b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX: a", b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET /"]
)
async def test_a_head_that_does_not_end_ends_with_its_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    monkeypatch.setattr(server, "_IDLE_SECONDS", 0.3)
    listener = socket.create_server(("127.0.0.1", 0))
    role = server.Server(web.Application(), server.Listeners(listener), {})
    async with running(role.run()):
        await role.ready.wait()
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        writer.write(said)
        async with asyncio.timeout(10):
            came = await reader.read()
        writer.close()
    assert came.count(b"HTTP/1.1") == said.count(b"\r\n\r\n")


def test_idle_connections_may_be_more_than_the_files_that_a_process_has_at_first(tmp_path: Path) -> None:
    server = LumperServer(tmp_path / "data", role="registry")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.ExitStack() as stack:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        try:
            stack.enter_context(server)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for _ in range(400):
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
        with urllib.request.urlopen(f"{server.url}/healthz", timeout=20) as answer:
            assert answer.status == 200
