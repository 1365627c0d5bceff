"""Requests as bytes, and what comes back."""

from __future__ import annotations

import asyncio
import re

from lumper.model.people.people import Role
from parts.registries.live_registry import LiveRegistry

_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3}) ")


def head(
    live: LiveRegistry,
    method: str,
    path: bytes | str,
    headers: bytes = b"",
    *,
    version: bytes = b"1.1",
    host: bytes = b"Host: x\r\n",
) -> bytes:
    """The head of a request, as an administrator."""
    line = method.encode() + b" " + (path if isinstance(path, bytes) else path.encode()) + b" HTTP/" + version + b"\r\n"
    return line + host + f"Authorization: Bearer {live.tokens[Role.ADMIN]}\r\n".encode() + headers + b"\r\n"


async def sent(live: LiveRegistry, *pieces: bytes, half: bool = False, answers: int = 99) -> tuple[list[int], bytes]:
    """Send bytes, read until there are so many answers or the server ends the connection; statuses, and all bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(live.host.rpartition(":")[2]))
    came = b""
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        if half:
            writer.write_eof()
        async with asyncio.timeout(60):
            while len(_STATUS.findall(came)) < answers and (more := await reader.read(1 << 16)):
                came += more
    except ConnectionError:  # it would not even read all of it
        pass
    finally:
        writer.close()
    return [int(status) for status in _STATUS.findall(came)], came
