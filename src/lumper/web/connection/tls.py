"""TLS between a connection and its protocol, as asyncio has it, but in little memory where there are many.

asyncio reads 256 KiB of each connection, holds as much again that nobody has taken, and half a MiB that the client has
not: no program can say so to `create_server`, so what that does for TLS is done here.
"""

from __future__ import annotations

import asyncio
import ssl
from asyncio.sslproto import SSLProtocol
from collections.abc import Callable, Iterable
from typing import Any, cast

from lumper.web.connection.shortcut import Shortcut

_RECORD = 16 << 10  # bytes
_LEAST = 4 << 10  # bytes
_ROOM = 64 << 10  # bytes that are received at a time, at most


class _TlsConnection(SSLProtocol):
    """One connection; `size` is how many bytes it holds at most in each of its rooms.

    What it receives lies in `room`, which all connections share, until OpenSSL has it, before anyone else receives.
    """

    max_size = 0  # of the room that asyncio's own makes for each connection

    def __init__(self, protocol: Shortcut, context: ssl.SSLContext, size: int, room: bytearray) -> None:
        super().__init__(asyncio.get_running_loop(), protocol, context, cast("Any", None), server_side=True)
        self.max_size = max(_RECORD, size)  # type: ignore[misc]  # what is taken from OpenSSL at a time
        self._ssl_buffer = room
        self._ssl_buffer_view = memoryview(room)[:size]
        self._size = size
        self._set_read_buffer_limits(size)  # type: ignore[attr-defined]  # what the transport's methods call
        self._set_write_buffer_limits(1)  # type: ignore[attr-defined]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has come: the handshake begins."""
        self._below = cast("asyncio.Transport", transport)
        self._below.set_write_buffer_limits(0)
        super().connection_made(transport)

    def _write_appdata(self, list_of_data: Iterable[Any]) -> None:
        """Encrypt a part at a time, and send it: of the room that OpenSSL once had for all of it, it keeps all."""
        part = max(_RECORD, self._size)
        for data in list_of_data:
            whole = memoryview(data)
            for start in range(0, len(whole), part):
                super()._write_appdata([cast("Any", whole[start : start + part])])

    def _get_write_buffer_size(self) -> int:
        """What the client has not taken; asyncio's own leaves out the transport below, where most of it lies."""
        own: int = super()._get_write_buffer_size()  # type: ignore[misc]
        return own + self._below.get_write_buffer_size()


def secured(made: Callable[[], Shortcut], context: ssl.SSLContext) -> Callable[[], SSLProtocol]:
    """For `create_server`: the same protocols behind TLS."""
    room = bytearray(_ROOM)

    def make() -> SSLProtocol:
        protocol = made()
        return _TlsConnection(protocol, context, min(_ROOM, max(_LEAST, protocol.share // 2)), room)

    return make
