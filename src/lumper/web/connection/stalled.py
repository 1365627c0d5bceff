"""Connections whose client takes nothing of what is sent to it are ended, whatever is sent, and by whichever way.

The kernel tells how far each one is: files go out by sendfile(2), of which no transport knows. A client that is gone
without a word takes nothing, too, and so does one that lives and reads nothing. Source: tcp(7), SIOCOUTQ and TCP_INFO.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import fcntl
import socket
import struct
import termios
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from lumper.logs import get_logger

SECONDS = 60.0  # without a byte; nginx's send_timeout is as long
_LOOKS = 6  # in that time
_ACKED = 120  # where tcpi_bytes_acked is in struct tcp_info, eight bytes; linux/tcp.h
_NOW = struct.pack("ii", 1, 0)  # struct linger: what is not sent is thrown away

log = get_logger(__name__)


@dataclass(frozen=True)
class _Standing:
    """Since when a client has taken no more bytes than these. `ended`: it was told that this was the end."""

    acked: int
    since: float
    ended: bool = False


class Stalled:
    """Ends those of the connections, as `transports` names them, whose client takes no byte for so many seconds."""

    def __init__(self, transports: Callable[[], Iterable[asyncio.Transport]], seconds: float = SECONDS) -> None:
        self._transports = transports
        self._seconds = seconds
        self._standing: dict[asyncio.Transport, _Standing] = {}

    async def watch(self) -> None:
        """Look for ever."""
        while True:
            await asyncio.sleep(self._seconds / _LOOKS)
            self.look(time.monotonic())

    def look(self, now: float) -> None:
        """Compare with the last look; `now` is in seconds."""
        standing: dict[asyncio.Transport, _Standing] = {}
        for transport in self._transports():
            connection = transport.get_extra_info("socket")
            acked = None if connection is None else _acked(connection)
            if acked is None:
                continue
            before = self._standing.get(transport)
            if before is None or before.acked != acked:
                standing[transport] = _Standing(acked, now)
            elif now - before.since < self._seconds:
                standing[transport] = before
            elif not before.ended:
                _end(connection)
                standing[transport] = _Standing(acked, before.since, ended=True)
            else:  # nobody writes to it any more, so nobody noticed
                transport.abort()
        self._standing = standing


def _acked(connection: socket.socket) -> int | None:
    """How many bytes the client has got, if some are on their way to it."""
    waiting = array.array("i", [0])
    try:
        fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, waiting)
        if not waiting[0]:
            return None
        told = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _ACKED + 8)
        return int(struct.unpack_from("=Q", told, _ACKED)[0])
    except (OSError, struct.error, AttributeError, ValueError):  # closed, or not Linux
        return None


def _end(connection: socket.socket) -> None:
    """Let whoever sends learn of it; who has the connection under another descriptor does not see it closed."""
    peer = ""
    with contextlib.suppress(OSError):
        peer = str(connection.getpeername()[0])
    log.info("a client took nothing any more", action="connection.stalled", client=peer)
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NOW)
        connection.shutdown(socket.SHUT_RDWR)
