"""A buildkitd: the program where there is one, else the BuildKit within a Docker Engine behind a socket of its own.

Debian has no buildkitd. What answers at an Engine's `/grpc` is the same BuildKit with the same services, so that a
program that asks for the upgrade and then carries bytes makes of it what a buildkitd is to its clients.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import ssl
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from parts.engines.daemon import daemon

_UPGRADE = b"POST /grpc HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 0\r\n\r\n"


def buildkitd() -> contextlib.AbstractContextManager[str]:
    """The path of the socket of a real one."""
    return daemon("buildkitd", _command)


def _command(folder: Path) -> list[str]:
    return [
        *("buildkitd", "--root", f"{folder}/root", "--addr", f"unix://{folder}/buildkitd.sock"),
        *("--allow-insecure-entitlement", "network.host", "--containerd-worker=false"),
    ]


@asynccontextmanager
async def behind_a_socket(engine: str, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """The BuildKit of the Engine at this socket as a buildkitd: `unix:///path`, or with TLS `tcp://host:port`."""
    folder = Path(tempfile.mkdtemp(prefix="bridge"))
    carrying: set[asyncio.Task[None]] = set()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        carrying.add(task)
        task.add_done_callback(carrying.discard)
        with contextlib.closing(writer):
            theirs, ours = await asyncio.open_unix_connection(engine)
            with contextlib.closing(ours):
                await _between(reader, writer, theirs, ours)

    if tls is None:
        path = f"{folder}/buildkitd.sock"
        server = await asyncio.start_unix_server(carry, path)
        address = f"unix://{path}"
    else:
        server = await asyncio.start_server(carry, "127.0.0.1", 0, ssl=tls)
        address = "tcp://{}:{}".format(*server.sockets[0].getsockname()[:2])
    try:
        yield address
    finally:
        server.close()
        for task in list(carrying):
            task.cancel()
        await asyncio.gather(*carrying, return_exceptions=True)
        shutil.rmtree(folder)


async def _between(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, theirs: asyncio.StreamReader, ours: asyncio.StreamWriter
) -> None:
    """Ask the Engine for the upgrade, then carry bytes both ways until one side ends."""
    try:
        ours.write(_UPGRADE)
        head = await theirs.readuntil(b"\r\n\r\n")
        assert head.split(b" ")[1] == b"101", head
        async with asyncio.TaskGroup() as ways:
            ways.create_task(_copy(reader, ours))
            ways.create_task(_copy(theirs, writer))
    except* OSError:
        pass


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(256 * 1024):
        writer.write(data)
        await writer.drain()
    writer.write_eof() if writer.can_write_eof() else writer.close()
