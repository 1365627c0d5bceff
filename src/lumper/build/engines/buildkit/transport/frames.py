"""HTTP/2 for what is large or much: the frames of a message, and small messages, are written together.

Engines take frames of 16 KiB. grpclib hands each of them to h2 and to the socket by itself, with the states, the checks
and the system call that belong to it: 10 ms for a MB, in which `curl` sends ten. Here h2 makes the first frame of a
piece, and with it checks that the stream may send; those behind it are 9 bytes before bytes that lie there already. The
windows of the other side, which say how much may be on its way, stay h2's. Source: RFC 9113, sections 4.1, 5.2 and 6.1.
"""

from __future__ import annotations

import struct
from asyncio import BaseTransport, Transport
from collections.abc import Iterable
from typing import Any, TypeVar, cast

from google.protobuf.message import Message
from grpclib.protocol import Connection, EventsProcessor, H2Protocol, Stream
from grpclib.server import Stream as Call
from grpclib.utils import Wrapper

from lumper.system.library_internals import grpc_config, h2, initial_metadata_sent, send_raw

M = TypeVar("M", bound=Message)

_AT_ONCE = 256 * 1024  # bytes; more wait in the transport's own memory anyway
_HEAD = struct.Struct(">BHBBL")  # a frame's length in 24 bits, its type, flags, and stream
_DATA = 0x0
_PREFIX = struct.Struct(">?L")  # gRPC over HTTP/2, "Length-Prefixed-Message": whether compressed, and the length


async def send_messages(call: Call[Any, M], messages: Iterable[M]) -> None:
    """Answer a call with these messages, which go out together."""
    if not initial_metadata_sent(call):
        await call.send_initial_metadata()
    parts = list[bytes]()
    for message in messages:
        body = message.SerializeToString()
        parts += (_PREFIX.pack(False, len(body)), body)
    await send_raw(call, b"".join(parts))


class BulkProtocol(H2Protocol):
    """HTTP/2 whose streams write many frames at once."""

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)
        # grpclib has no option for it.
        self.connection = _Connection(
            h2(self.connection), cast("Transport", transport), config=grpc_config(self.connection)
        )
        self.processor = EventsProcessor(self.handler, self.connection)


class _Connection(Connection):
    def create_stream(self, *, stream_id: int | None = None, wrapper: Wrapper | None = None) -> Stream:
        return _Stream(self, self._connection, self._transport, stream_id=stream_id, wrapper=wrapper)


class _Stream(Stream):
    async def send_data(self, data: bytes, end_stream: bool = False) -> None:
        """Send as much at once as the other side takes. What is left fits in a frame, and is grpclib's."""
        rest = memoryview(data)
        frame = self._h2_connection.max_outbound_frame_size
        while len(rest) > frame:
            await self.connection.write_ready.wait()
            window = self._h2_connection.local_flow_control_window(cast("int", self.id))
            if window <= 0:  # it can be less
                self.window_updated.clear()
                await self.window_updated.wait()
                continue
            size = min(window, _AT_ONCE, len(rest) - 1)  # the end stays
            self._write(rest[:size], frame)
            rest = rest[size:]
        await super().send_data(bytes(rest), end_stream)

    def _write(self, data: memoryview, frame: int) -> None:
        """Write frames of this size, for which there is room in the windows."""
        stream_id, state = cast("int", self.id), self._h2_connection
        state.send_data(stream_id, bytes(data[:frame]))
        parts: list[bytes | memoryview] = [state.data_to_send()]
        for begin in range(frame, len(data), frame):
            piece = data[begin : begin + frame]
            parts += (_HEAD.pack(len(piece) >> 16, len(piece) & 0xFFFF, _DATA, 0, stream_id), piece)
        rest = max(0, len(data) - frame)
        state.outbound_flow_control_window -= rest
        state.streams[stream_id].outbound_flow_control_window -= rest
        self._transport.write(b"".join(parts))
        self.data_sent += len(data)
        self.connection.data_sent += len(data)
        self.connection.data_send_process()
