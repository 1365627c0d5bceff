"""Connections that hold on to the server without asking for anything are ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import socket
import ssl
import urllib.request
from functools import partial
from pathlib import Path

import pytest
from aiohttp import web

from lumper.roles import server
from lumper.web.connection.certificate import Certificate
from lumper.web.connection.stalled import Stalled
from lumper.web.oci.bytes.ranges import Span
from lumper.web.oci.bytes.sendfile import FileSender, send_file
from parts.line.running import running
from parts.processes.lumper_process import LumperServer
from parts.servers.certificates import Authority

MIB = 1 << 20


@pytest.mark.parametrize(
    "said", [b"", b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX: a", b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET /"]
)
async def test_a_head_that_does_not_end_ends_with_its_connection(monkeypatch: pytest.MonkeyPatch, said: bytes) -> None:
    monkeypatch.setattr(server, "_IDLE_SECONDS", 0.3)
    listener = socket.create_server(("127.0.0.1", 0))
    role = server.Server(web.Application(), server.Listeners(listener), {})
    async with running(role.run()):
        await role.ready.wait()
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        writer.write(said)
        async with asyncio.timeout(60):
            came = await reader.read()
        writer.close()
    assert came.count(b"HTTP/1.1") == said.count(b"\r\n\r\n")


@pytest.mark.parametrize("way", ["pieces", "file", "files at once", "pieces through TLS", "file through TLS"])
async def test_whoever_asks_for_much_and_reads_nothing_is_sent_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    monkeypatch.setattr(server, "Stalled", partial(Stalled, seconds=0.3))
    much = tmp_path / "much"
    much.touch()
    os.truncate(much, 64 * MIB)
    clients = 3 if way == "files at once" else 1
    sender, ended = FileSender(), asyncio.Semaphore(0)

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        try:
            if way.startswith("file"):
                await send_file(sender, request, response, much, [Span(0, 64 * MIB)])
            else:
                await response.prepare(request)
                while True:
                    await response.write(bytes(MIB))
        finally:
            ended.release()
        return response

    app = web.Application()
    app.router.add_get("/", answer)
    tls, trusted = None, None
    if way.endswith("TLS"):
        authority = Authority(tmp_path)
        pair = authority.certificate("localhost")
        tls, trusted = Certificate(pair.certificate, pair.key), ssl.create_default_context(cafile=authority.file)
    listener = socket.create_server(("127.0.0.1", 0))
    role = server.Server(app, server.Listeners(listener, tls), {})
    async with running(role.run()), asyncio.timeout(60):
        await role.ready.wait()
        with contextlib.ExitStack() as stack:
            for _ in range(clients):
                client = stack.enter_context(await asyncio.to_thread(connected, listener.getsockname(), trusted))
                client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            for _ in range(clients):
                await ended.acquire()


async def test_hundreds_of_clients_may_come_while_the_loop_is_busy() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    role = server.Server(web.Application(), server.Listeners(listener), {})
    async with running(role.run()):
        await role.ready.wait()
        with contextlib.ExitStack() as stack:
            for _ in range(400):  # the loop has no turn meanwhile
                last = stack.enter_context(socket.create_connection(listener.getsockname(), timeout=10))
            last.setblocking(False)
            async with asyncio.timeout(60):
                await asyncio.get_running_loop().sock_sendall(last, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                assert await asyncio.get_running_loop().sock_recv(last, 12) == b"HTTP/1.1 404"


def connected(address: tuple[str, int], trusted: ssl.SSLContext | None) -> socket.socket:
    plain = socket.create_connection(address, 30)
    return trusted.wrap_socket(plain, server_hostname="localhost") if trusted else plain


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
        with urllib.request.urlopen(f"{server.url}/healthz", timeout=60) as answer:
            assert answer.status == 200
