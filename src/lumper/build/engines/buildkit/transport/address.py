"""Where an engine listens: `unix:///path` or `tcp://host:port`, for a buildkitd with `buildkitd+` before it."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import aiohttp

from lumper.errors import ConfigError, EngineUnavailable, Problem

CONNECT_TIMEOUT = 10.0

_DAEMON = "buildkitd+"

P = TypeVar("P", bound=asyncio.Protocol)


@dataclass(frozen=True)
class Certificates:
    """Files for TLS with an engine: the authority that it must be known to, and what we show it ourselves."""

    authority: Path
    certificate: Path | None = None
    key: Path | None = None

    def context(self) -> ssl.SSLContext:
        """Raises ConfigError."""
        try:
            context = ssl.create_default_context(cafile=str(self.authority))
            if self.certificate is not None:
                context.load_cert_chain(self.certificate, self.key)
        except (OSError, ssl.SSLError) as exc:
            text = f"the certificates for TLS cannot be loaded: {exc.strerror or exc}"
            raise ConfigError("engine", (Problem(0, "", text),)) from exc
        return context


@dataclass(frozen=True)
class Address:
    """A listening socket: either `path` is set, or `host` and `port`. `text` is how a person wrote it."""

    text: str
    path: str = ""
    host: str = ""
    port: int = 0
    tls: ssl.SSLContext | None = field(default=None, repr=False, compare=False)

    @property
    def url(self) -> str:
        """The base of HTTP requests; for a Unix socket the host is only a filler."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}" if self.host else "http://docker"

    def connector(self) -> aiohttp.BaseConnector:
        """A connector for aiohttp that reaches this address, with as many connections as builds need."""
        if not self.host:
            return aiohttp.UnixConnector(self.path, limit=0)
        return aiohttp.TCPConnector(limit=0, ssl=self.tls or True)

    async def connect(self, factory: Callable[[], P], *, protocols: Sequence[str] = ()) -> P:
        """A new connection with its protocol; TLS names `protocols` (ALPN). Raises EngineUnavailable."""
        loop = asyncio.get_running_loop()
        if self.tls and protocols:
            self.tls.set_alpn_protocols(list(protocols))
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                if not self.host:
                    return (await loop.create_unix_connection(factory, self.path))[1]
                transport, protocol = await loop.create_connection(factory, self.host, self.port, ssl=self.tls)
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


def is_daemon(text: str) -> bool:
    """Whether an address is that of a buildkitd, and not of a Docker Engine."""
    return text.startswith(_DAEMON)


def parse_address(text: str, certificates: Certificates | None = None) -> Address:
    """Read an address. Raises ConfigError."""
    context = certificates.context() if certificates else None
    try:
        parts = urlsplit(text.removeprefix(_DAEMON))
        if parts.scheme == "unix" and not parts.netloc and len(parts.path) > 1:
            return Address(text, path=parts.path)
        if parts.scheme == "tcp" and parts.hostname and parts.port and parts.path in ("", "/"):
            return Address(text, host=parts.hostname, port=parts.port, tls=context)
    except ValueError:
        pass  # the port is no number: answered below like every other wrong address
    raise ConfigError("engine", (Problem(0, "", f"{text!r} is neither unix:///path nor tcp://host:port"),))
