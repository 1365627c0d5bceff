"""Where the server listens, and where people, forges, engines and hosts find it."""

from __future__ import annotations

import socket
from dataclasses import dataclass

from lumper.config import Config
from lumper.errors import Conflict
from lumper.model.links import Links


@dataclass(frozen=True)
class Addresses:
    """What follows from where the server listens. `local` is HOST:PORT for programs on this machine."""

    local: str
    links: Links


def addresses(config: Config, port: int) -> Addresses:
    """The instance's addresses, `port` being the one that was really bound."""
    host, _ = config.listen
    near = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    local = f"{near}:{port}"
    public = config.server.public_url.rstrip("/") or f"http://{local}"
    return Addresses(local, Links(public, public.partition("://")[2], config.deploy.registry or local))


def bind(config: Config) -> socket.socket:
    """The listening socket of [server] listen. Raises StorageError if the port is taken or not allowed."""
    host, port = config.listen
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=1024, reuse_port=False)
    except OSError as exc:
        raise Conflict(
            f"Lumper cannot listen on {config.server.listen}: {exc.strerror}.",
            hint="Choose another address with --listen HOST:PORT.",
        ) from exc
