"""A Unix socket in front of another one that can be cut: as if the program behind it had died."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path


class WeakLine:
    """Connections that pass through. `made` counts them."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._writers: set[asyncio.StreamWriter] = set()
        self.made = 0

    @property
    def open(self) -> bool:
        """Whether a connection is there now."""
        return bool(self._writers)

    def cut(self) -> None:
        """Break every connection at once, without a farewell."""
        for writer in self._writers:
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass bytes both ways until one side ends."""
        self.made += 1
        there_reader, there = await asyncio.open_unix_connection(self._target)
        mine = {writer, there}
        self._writers |= mine
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_pass(reader, there))
                group.create_task(_pass(there_reader, writer))
        finally:
            self._writers -= mine
            for end in mine:
                end.transport.abort()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    with suppress(OSError, RuntimeError):
        writer.write_eof()


@asynccontextmanager
async def weak_line(path: Path, target: str) -> AsyncIterator[WeakLine]:
    """Listen at `path` and pass everything on to the Unix socket `target`."""
    line = WeakLine(target)
    server = await asyncio.start_unix_server(line.serve, path)
    try:
        yield line
    finally:
        server.close()
        line.cut()
        await server.wait_closed()
