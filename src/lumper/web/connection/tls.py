"""TLS between a connection and its protocol, as asyncio has it, but in little memory where there are many.

asyncio reads 256 KiB of each connection, holds as much again that nobody has taken, and half a MiB that the client has
not: no program can say so to `create_server`, so what that does for TLS is done here.
"""

from __future__ import annotations

import asyncio
import ssl
from asyncio.sslproto import SSLProtocol
from collections.abc import Callable
from typing import Any, cast

from lumper.web.connection.shortcut import Shortcut

_LEAST = 16 << 10  # bytes; a record of TLS


class _TlsConnection(SSLProtocol):
    """One connection; `size` is how many bytes it holds at most in each of its rooms."""

    def __init__(self, protocol: Shortcut, context: ssl.SSLContext, size: int) -> None:
        self.max_size = size  # type: ignore[misc]  # asyncio's own is the class's
        super().__init__(asyncio.get_running_loop(), protocol, context, cast("Any", None), server_side=True)
        self._size = size
        self._set_read_buffer_limits(size)  # type: ignore[attr-defined]  # what the transport's methods call
        self._set_write_buffer_limits(size)  # type: ignore[attr-defined]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has come: the handshake begins."""
        cast("asyncio.Transport", transport).set_write_buffer_limits(self._size)
        super().connection_made(transport)


def secured(made: Callable[[], Shortcut], context: ssl.SSLContext) -> Callable[[], SSLProtocol]:
    """For `create_server`: the same protocols behind TLS."""

    def make() -> SSLProtocol:
        protocol = made()
        return _TlsConnection(protocol, context, max(_LEAST, protocol.read_size // 4))

    return make
