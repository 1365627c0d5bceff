"""Many frames at once, to a peer (h2) that refuses what is too large for a frame or for its windows."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from pathlib import Path

import pytest
from google.protobuf.empty_pb2 import Empty
from grpclib.client import Channel, StreamStreamMethod
from grpclib.config import Configuration
from grpclib.const import Cardinality, Handler
from grpclib.server import Stream

from lumper.build.engines.buildkit.proto.upload_pb2 import BytesMessage
from lumper.build.engines.buildkit.session.session import session_protocol
from lumper.build.engines.buildkit.transport.frames import send_messages

SIZES = (0, 1, 16_379, 16_380, 65_535, 65_536, 300_000, 3_000_000)
"""Of messages; 5 bytes of gRPC come before each."""

Connect = Callable[[int, int], Awaitable[StreamStreamMethod[Empty, BytesMessage]]]


def message(size: int) -> bytes:
    return hashlib.shake_128(str(size).encode()).digest(size)


class Sending:
    """Answers each call with all messages, one by one, and then all of them together."""

    async def send(self, stream: Stream[Empty, BytesMessage]) -> None:
        for size in SIZES:
            await stream.send_message(BytesMessage(data=message(size)))
        await send_messages(stream, [BytesMessage(data=message(size)) for size in SIZES])

    def __mapping__(self) -> Mapping[str, Handler]:
        return {"/test/Send": Handler(self.send, Cardinality.STREAM_STREAM, Empty, BytesMessage)}


@pytest.fixture
async def connect(tmp_path: Path) -> AsyncIterator[Connect]:
    """Connects by a client whose windows, of a stream and of the connection, have so many bytes."""
    socket = str(tmp_path / "socket")
    server = await asyncio.get_running_loop().create_unix_server(lambda: session_protocol([Sending()]), socket)
    channels = list[Channel]()

    async def connected(stream: int, connection: int) -> StreamStreamMethod[Empty, BytesMessage]:
        windows = Configuration(http2_stream_window_size=stream, http2_connection_window_size=connection)
        channels.append(Channel(path=socket, config=windows))
        return StreamStreamMethod(channels[-1], "/test/Send", Empty, BytesMessage)

    yield connected
    for channel in channels:
        channel.close()
    server.close()
    await server.wait_closed()


async def received(method: StreamStreamMethod[Empty, BytesMessage]) -> AsyncGenerator[bytes]:
    async with method.open() as call:
        await call.send_request(end=True)
        async for each in call:
            yield each.data


@pytest.mark.parametrize("windows", [(65_535, 65_535), (65_535, 1 << 20), (1 << 20, 65_535), (100_001, 200_003)])
async def test_messages_arrive_whole_within_the_windows_of_the_other_side(
    windows: tuple[int, int], connect: Connect
) -> None:
    got = [data async for data in received(await connect(*windows))]
    assert got == [message(size) for size in SIZES] * 2


async def test_calls_of_one_connection_share_its_window(connect: Connect) -> None:
    method = await connect(1 << 20, 65_535)

    async def all_of_it() -> list[bytes]:
        return [data async for data in received(method)]

    assert await asyncio.gather(*(all_of_it() for _ in range(5))) == [[message(size) for size in SIZES] * 2] * 5


async def test_a_call_that_is_left_takes_nothing_from_the_next_one(connect: Connect) -> None:
    method = await connect(1 << 20, 1 << 20)
    for _ in range(3):
        async with aclosing(received(method)) as left:
            assert await anext(left) == b""
    assert [data async for data in received(method)] == [message(size) for size in SIZES] * 2
