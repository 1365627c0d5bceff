"""A connection within a gRPC call: a stream of pieces each way, which is a transport for asyncio's protocols.

buildkitd has no second door for sessions as a Docker Engine has: they go through its call `Session`.
"""

from __future__ import annotations

import asyncio
from typing import Any

from grpclib.client import Stream
from grpclib.exceptions import GRPCError, StreamTerminatedError
from grpclib.protocol import H2Protocol
from h2.exceptions import ProtocolError

from lumper.build.engines.buildkit.proto.upload_pb2 import BytesMessage
from lumper.build.engines.buildkit.transport.control import Control

_PIECE = 1024 * 1024
_HIGH, _LOW = 2 * _PIECE, _PIECE // 2  # bytes waiting at which the protocol pauses and goes on

Pieces = Stream[BytesMessage, BytesMessage]


class Tunnel(asyncio.Transport):
    """Carries what `protocol` writes, and gives it what comes. `run` it as a task; it ends when either side closes."""

    def __init__(self, protocol: H2Protocol) -> None:
        super().__init__()
        self._protocol = protocol
        self._waiting = bytearray()
        self._paused = False
        self._closing = False
        self._changed = asyncio.Event()

    async def run(self, control: Control, headers: list[tuple[str, str]], opened: asyncio.Future[None]) -> None:
        """Open the call with these headers, then carry; `opened` tells that it was opened, or why not."""
        error: Exception | None = None
        try:
            async with control.session.open(metadata=headers) as stream:
                await stream.send_request()
                self._protocol.connection_made(self)
                opened.set_result(None)
                await self._carry(stream)
                await stream.cancel()
        except (GRPCError, StreamTerminatedError, ProtocolError, OSError) as exc:
            error = exc
        finally:
            self._closing = True
            if not opened.done():
                opened.set_exception(error or ConnectionResetError("it closed the connection"))
            elif hasattr(self._protocol, "processor"):
                self._protocol.connection_lost(error)

    async def _carry(self, stream: Pieces) -> None:
        ways = [asyncio.create_task(self._out(stream)), asyncio.create_task(self._in(stream))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            results = await asyncio.gather(*ways, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result

    async def _out(self, stream: Pieces) -> None:
        while True:
            while self._waiting:
                piece = bytes(memoryview(self._waiting)[:_PIECE])
                del self._waiting[:_PIECE]
                await stream.send_message(BytesMessage(data=piece))
                if self._paused and len(self._waiting) <= _LOW:
                    self._paused = False
                    self._protocol.resume_writing()
            if self._closing:
                return
            self._changed.clear()
            await self._changed.wait()

    async def _in(self, stream: Pieces) -> None:
        async for message in stream:
            self._protocol.data_received(message.data)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._closing:
            return
        self._waiting += data
        self._changed.set()
        if not self._paused and len(self._waiting) >= _HIGH:
            self._paused = True
            self._protocol.pause_writing()

    def close(self) -> None:
        self._closing = True
        self._changed.set()

    abort = close

    def is_closing(self) -> bool:
        return self._closing

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default
