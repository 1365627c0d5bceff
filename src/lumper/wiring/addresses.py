"""Where the server listens, and where people, forges, engines and hosts find it."""

from __future__ import annotations

import socket

from lumper.config.settings import Config, split_address
from lumper.errors import Conflict
from lumper.model.links import Links
from lumper.roles.server import BACKLOG


def addresses(config: Config, port: int, local_port: int = 0) -> Links:
    """The instance's addresses; `port`, and with TLS `local_port`, are those that were really bound."""
    host, _ = config.listen
    own = local = f"{_near(host)}:{port}"
    scheme = "http"
    if config.server.tls_certificate is not None:
        near, configured = split_address(config.server.local_listen)
        local, scheme = f"{_near(near)}:{local_port or configured}", "https"
    public = config.server.public_url.rstrip("/") or f"{scheme}://{own}"
    return Links(public, public.partition("://")[2], config.deploy.registry or local, local)


def _near(host: str) -> str:
    """How a program on this machine reaches what listens on `host`."""
    return {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104


def bind(address: str, *, hint: str = "Choose another address with --listen HOST:PORT.") -> socket.socket:
    """A listening socket. Raises Conflict if the address is taken or not allowed."""
    host, port = split_address(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG, reuse_port=False)
    except OSError as exc:
        raise Conflict(f"Lumper cannot listen on {address}: {exc.strerror}.", hint=hint) from exc
