"""From HTTP/1.1 to HTTP/2 on one connection: the Engine's `POST /grpc` and `POST /session`.

Source: Docker Engine API, "Initialize interactive session"; RFC 9110, section 7.8 (Upgrade).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from http import HTTPStatus
from typing import TypeVar, cast

from lumper.build.engines.buildkit.transport.address import CONNECT_TIMEOUT, Address

P = TypeVar("P", bound=asyncio.Protocol)

_HEAD_LIMIT = 64 * 1024


async def upgrade(address: Address, path: str, headers: Sequence[tuple[str, str]], protocol: P) -> P:
    """Connect, ask for h2c at `path`, and hand the connection to `protocol` with no byte lost.

    Raises EngineUnavailable, also when what listens there does not speak this.
    """
    asking = await address.connect(lambda: _Asking(path, headers, protocol))
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            await asking.answered
    except (OSError, _Refused) as exc:
        raise address.unavailable(exc) from exc
    except asyncio.CancelledError:
        raise
    finally:
        if asking.transport is not None and not asking.done:
            asking.transport.abort()
    return protocol


class _Refused(Exception):
    """The answer was not "101 Switching Protocols"."""


class _Asking(asyncio.Protocol):
    """Holds the connection until the head of the answer has come, then gives it away."""

    def __init__(self, path: str, headers: Sequence[tuple[str, str]], successor: asyncio.Protocol) -> None:
        lines = [f"POST {path} HTTP/1.1", "Host: docker", "Connection: Upgrade", "Upgrade: h2c", "Content-Length: 0"]
        lines += [f"{name}: {value}" for name, value in headers]
        self._request = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        self._successor = successor
        self._received = bytearray()
        self.answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.transport: asyncio.Transport | None = None

    @property
    def done(self) -> bool:
        """Whether the connection belongs to the successor."""
        return self.answered.done() and not self.answered.cancelled() and self.answered.exception() is None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, separator, rest = self._received.partition(b"\r\n\r\n")
        if not separator:
            if len(head) > _HEAD_LIMIT:
                self._fail(_Refused("its answer is not HTTP"))
            return
        status_line = bytes(head).split(b"\r\n", 1)[0].decode("latin-1")
        if status_line.split(" ")[1:2] != [str(HTTPStatus.SWITCHING_PROTOCOLS.value)]:
            self._fail(_Refused(f"it answered {status_line!r} to a request for BuildKit's protocol"))
            return
        self._hand_over(bytes(rest))

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(exc or ConnectionResetError("it closed the connection"))

    def _hand_over(self, rest: bytes) -> None:
        if self.answered.done() or self.transport is None:
            return
        self.transport.set_protocol(self._successor)
        self._successor.connection_made(self.transport)
        if rest:
            self._successor.data_received(rest)
        self.answered.set_result(None)

    def _fail(self, exc: Exception) -> None:
        if not self.answered.done():
            self.answered.set_exception(exc)
