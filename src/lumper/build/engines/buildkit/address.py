"""Where an Engine listens: `unix:///path` or `tcp://host:port`."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urlsplit

import aiohttp

from lumper.errors import ConfigError, EngineUnavailable, Problem

CONNECT_TIMEOUT = 10.0

P = TypeVar("P", bound=asyncio.Protocol)


@dataclass(frozen=True)
class Address:
    """A listening socket: either `path` is set, or `host` and `port`. `text` is how a person wrote it."""

    text: str
    path: str = ""
    host: str = ""
    port: int = 0

    @property
    def url(self) -> str:
        """The base of HTTP requests; for a Unix socket the host is only a filler."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}" if self.host else "http://docker"

    def connector(self) -> aiohttp.BaseConnector:
        """A connector for aiohttp that reaches this address, with as many connections as builds need."""
        return aiohttp.TCPConnector(limit=0) if self.host else aiohttp.UnixConnector(self.path, limit=0)

    async def connect(self, factory: Callable[[], P]) -> P:
        """A new connection with its protocol. Raises EngineUnavailable."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                if not self.host:
                    return (await loop.create_unix_connection(factory, self.path))[1]
                transport, protocol = await loop.create_connection(factory, self.host, self.port)
        except OSError as exc:  # TimeoutError is one
            raise self.unavailable(exc) from exc
        _keep_alive(transport.get_extra_info("socket"))
        return protocol

    def unavailable(self, reason: Exception | str) -> EngineUnavailable:
        """The error that says that the engine cannot be reached."""
        text = (isinstance(reason, OSError) and reason.strerror) or str(reason) or type(reason).__name__
        denied = isinstance(reason, OSError) and reason.errno in (errno.EACCES, errno.EPERM)
        return EngineUnavailable(
            f"The build engine at {self.text} cannot be reached: {text.rstrip('.')}.",
            hint="Let the user that runs the worker into the group `docker`." if denied else "",
        )

    def lost(self, reason: str) -> EngineUnavailable:
        """The error that says that the engine went away while it worked for us."""
        return EngineUnavailable(f"The build engine at {self.text} gave the build up: {reason.rstrip('.')}.")


def _keep_alive(sock: socket.socket) -> None:
    """Notice within two minutes that the other machine is gone, also while a long step prints nothing."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4)):
        if hasattr(socket, option):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


def parse_address(text: str) -> Address:
    """Read an address. Raises ConfigError."""
    try:
        parts = urlsplit(text)
        if parts.scheme == "unix" and not parts.netloc and len(parts.path) > 1:
            return Address(text, path=parts.path)
        if parts.scheme == "tcp" and parts.hostname and parts.port and parts.path in ("", "/"):
            return Address(text, host=parts.hostname, port=parts.port)
    except ValueError:
        pass  # the port is no number: answered below like every other wrong address
    raise ConfigError("engine", (Problem(0, "", f"{text!r} is neither unix:///path nor tcp://host:port"),))
