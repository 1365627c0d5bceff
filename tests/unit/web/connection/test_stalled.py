"""Who takes nothing of what is sent to them is not waited for."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from lumper.web.connection.stalled import Stalled, _acked
from parts.suite.eventually import eventually

SECONDS = 60.0
MUCH = bytes(32 << 20)  # more than the connection and its buffers hold


@pytest.fixture
def client() -> Iterator[socket.socket]:
    with closing(socket.socket()) as made:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 10)
        made.settimeout(30)
        yield made


@pytest.fixture
async def transport(client: socket.socket) -> AsyncIterator[asyncio.Transport]:
    loop = asyncio.get_running_loop()
    came: asyncio.Future[asyncio.Transport] = loop.create_future()

    class Sending(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            came.set_result(transport)

    server = await loop.create_server(Sending, "127.0.0.1", 0)
    client.connect(server.sockets[0].getsockname())
    made = await came
    yield made
    made.abort()
    server.close()


async def read_on(client: socket.socket, transport: asyncio.Transport) -> None:
    """Read until the server has seen that something was read."""
    before = _acked(transport.get_extra_info("socket"))

    async def seen() -> bool:
        await asyncio.to_thread(client.recv, 64 << 10)
        return _acked(transport.get_extra_info("socket")) != before

    await eventually(seen)


def unsent(client: socket.socket) -> int:
    """How many bytes the kernel still holds for this client. Source: linux, Documentation/networking/proc_net_tcp."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    port = f":{client.getsockname()[1]:04X}"
    return sum(int(row[4].partition(":")[0], 16) for row in rows if row[2].endswith(port))


async def looked_at(stalled: Stalled, transport: asyncio.Transport) -> None:
    """Let the time pass, with as many looks as in life, until the connection is closed."""

    async def closed() -> bool:
        now.append(now[-1] + SECONDS / 6)
        stalled.look(now[-1])
        standing = stalled._standing.get(transport)
        if standing is not None and not standing.ended:
            assert now[-1] - standing.since < SECONDS
        return transport.is_closing()

    now = [0.0]
    await eventually(closed)


async def test_a_client_that_takes_nothing_is_sent_away_after_its_time(
    client: socket.socket, transport: asyncio.Transport
) -> None:
    stalled = Stalled(lambda: [transport], SECONDS)
    transport.write(MUCH)
    for now in (0.0, SECONDS - 1, SECONDS - 1):
        stalled.look(now)
        await asyncio.sleep(0)
        assert not transport.is_closing()

    await looked_at(stalled, transport)

    connection = transport.get_extra_info("socket")

    async def closed() -> bool:
        return bool(connection.fileno() < 0)

    await eventually(closed)
    assert unsent(client) == 0
    with contextlib.suppress(ConnectionResetError):  # the kernel may say so as the end
        while await asyncio.to_thread(client.recv, 1 << 20):
            pass


async def test_a_client_that_reads_slowly_is_not(client: socket.socket, transport: asyncio.Transport) -> None:
    stalled = Stalled(lambda: [transport], SECONDS)
    transport.write(MUCH)
    for look in range(4):
        await read_on(client, transport)
        stalled.look(look * SECONDS)
    assert not transport.is_closing()


async def test_a_connection_on_which_nothing_is_sent_is_not(
    client: socket.socket, transport: asyncio.Transport
) -> None:
    stalled = Stalled(lambda: [transport], SECONDS)
    for look in range(4):
        stalled.look(look * SECONDS)
    transport.write(b"x")
    assert await asyncio.to_thread(client.recv, 9) == b"x"


async def test_a_connection_whose_end_nobody_notices_is_cut(transport: asyncio.Transport) -> None:
    stalled = Stalled(lambda: [transport], SECONDS)
    os.write(transport.get_extra_info("socket").fileno(), MUCH)  # past the transport, and nobody waits to send more
    transport.pause_reading()

    await looked_at(stalled, transport)
