"""Calls over HTTP that do not let themselves be led astray.

No redirect is followed, no proxy or cookie used. The address is looked at when the connection is made, so that a name
which has another address a moment later helps nobody. Addresses of a link (where clouds keep credentials), of groups
and of nobody are never called; those that only a network of one's own has, and loopback, only where it is allowed.

Source: OWASP, "Server Side Request Forgery Prevention Cheat Sheet"; IANA, special-purpose address registries.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp

from lumper.errors import ChannelUnavailable
from lumper.model.images.webhook import may_call

_SECONDS = 15.0

Socket = Callable[[Any], socket.socket]


class WebhookCaller:
    """Calls webhooks. An async method of it may run many times at once."""

    def __init__(self) -> None:
        self._sessions: dict[bool, aiohttp.ClientSession] = {}

    async def call(self, url: str, body: bytes, headers: Mapping[str, str], *, private: bool) -> None:
        """POST the body; on return the receiver has answered 2xx. Raises ChannelUnavailable."""
        try:
            async with self._session(private).post(url, data=body, headers=headers, allow_redirects=False) as answer:
                status = answer.status
        except TimeoutError as exc:
            raise ChannelUnavailable(f"The receiver did not answer within {_SECONDS:.0f} s.") from exc
        except (aiohttp.ClientError, OSError, ValueError) as exc:
            raise ChannelUnavailable(f"The receiver cannot be reached: {_words(exc)}.") from exc
        if not 200 <= status < 300:
            raise ChannelUnavailable(f"The receiver answered {status}.")

    async def close(self) -> None:
        """Close connections. What is called afterwards has new ones."""
        while self._sessions:
            await self._sessions.popitem()[1].close()

    def _session(self, private: bool) -> aiohttp.ClientSession:
        if private not in self._sessions:
            self._sessions[private] = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=32, force_close=True, socket_factory=_checked(private)),
                timeout=aiohttp.ClientTimeout(total=_SECONDS),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                auto_decompress=False,
            )
        return self._sessions[private]


def _checked(private: bool) -> Socket:
    """What makes the socket for a connection to an address, if that may be called."""

    def made(address: Any) -> socket.socket:
        family, kind, protocol, _, place = address
        if not may_call(place[0], private=private):
            raise PermissionError(errno.EACCES, f"{place[0]} is not called: see the option --private")
        return socket.socket(family, kind, protocol)

    return made


def _words(exc: Exception) -> str:
    inner = exc.os_error if isinstance(exc, aiohttp.ClientConnectorError) else exc
    said = inner.strerror if isinstance(inner, OSError) else str(inner)
    return (said or type(inner).__name__).rstrip(".")
