from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from lumper.build.engines.buildkit.transport.address import Address, parse_address
from lumper.build.engines.buildkit.transport.upgrade import upgrade
from lumper.errors import EngineUnavailable

HEAD = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"


class Reader(asyncio.Protocol):
    """Keeps what it reads until the other side ends."""

    def __init__(self) -> None:
        self.received = b""
        self.ended = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(b"preface")

    def data_received(self, data: bytes) -> None:
        self.received += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set()


@asynccontextmanager
async def engine(
    folder: Path, answer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
) -> AsyncIterator[Address]:
    """Something that listens where an Engine would."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answer(reader, writer)
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_unix_server(serve, folder / "socket")
    async with server:
        yield parse_address(f"unix://{folder}/socket")


@pytest.mark.parametrize("size", [1, 7, 10_000])
async def test_no_byte_behind_the_answer_is_lost(tmp_path: Path, size: int) -> None:
    asked: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        whole = HEAD + b"first frames\r\n\r\nmore"
        for start in range(0, len(whole), size):
            writer.write(whole[start : start + size])
            await writer.drain()
            await asyncio.sleep(0)
        asked.append(await reader.readexactly(7))

    async with engine(tmp_path, answer) as address:
        reader = await upgrade(address, "/session", [("X-Docker-Expose-Session-Uuid", "ab12")], Reader())
        await reader.ended.wait()

    assert reader.received == b"first frames\r\n\r\nmore"
    lines = asked[0].decode().split("\r\n")
    assert lines[0] == "POST /session HTTP/1.1"
    assert {"Connection: Upgrade", "Upgrade: h2c", "X-Docker-Expose-Session-Uuid: ab12"} <= set(lines)
    assert asked[1] == b"preface"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", r"answered 'HTTP/1\.1 404 Not Found'"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "answered 'SSH-2.0-OpenSSH'"),
        (b"HTTP/1.1 101 but then noth", "closed the connection"),
        (b"", "closed the connection"),
        (b"x" * 100_000, "not HTTP"),
    ],
)
async def test_what_does_not_speak_the_protocol_is_unavailable(tmp_path: Path, text: bytes, reason: str) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(text)

    async with engine(tmp_path, answer) as address:
        with pytest.raises(EngineUnavailable, match=reason) as caught:
            await upgrade(address, "/grpc", (), Reader())

    assert address.text in caught.value.message


async def test_being_cancelled_closes_the_connection(tmp_path: Path) -> None:
    came, went = asyncio.Event(), asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        came.set()
        assert await reader.read() == b""
        went.set()

    async with engine(tmp_path, answer) as address:
        asking = asyncio.create_task(upgrade(address, "/grpc", (), Reader()))
        await came.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await went.wait()


async def test_nobody_there_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable, match="No such file or directory"):
        await upgrade(parse_address(f"unix://{tmp_path}/socket"), "/grpc", (), Reader())

    with pytest.raises(EngineUnavailable, match=r"tcp://127\.0\.0\.1:1 cannot be reached"):
        await upgrade(parse_address("tcp://127.0.0.1:1"), "/grpc", (), Reader())
