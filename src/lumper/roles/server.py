"""The server: the one port, and its duties beside it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from aiohttp import web

from lumper.roles.base import Part, supervise
from lumper.web.connection.certificate import Certificate
from lumper.web.connection.shortcut import LONGEST_LINE, Shortcuts, protocols
from lumper.web.connection.stalled import Stalled
from lumper.web.connection.tls import secured

BACKLOG = 1024
"""Connections that may wait while the event loop is busy; of one that no longer fits the client tries again a second
later, or is told that it was reset. The kernel allows as many as `net.core.somaxconn`. Source: listen(2)."""
_SHUTDOWN_SECONDS = 3.0
_IDLE_SECONDS = 75.0  # between requests, and for the head of one; proxies must give up first (nginx: 60)


@dataclass(frozen=True)
class Listeners:
    """Where requests come in. With `tls`, `public` speaks it, and `local` plain HTTP with programs on this machine."""

    public: socket.socket
    tls: Certificate | None = None
    local: socket.socket | None = None


class Server:
    """Serves `app` and runs `parts`, by their names, until cancelled. `ready` is set once requests are answered."""

    def __init__(self, app: web.Application, listeners: Listeners, parts: Mapping[str, Part]) -> None:
        self._app = app
        self._listeners = listeners
        self._parts = dict(parts)
        if listeners.tls is not None:
            self._parts["tls"] = listeners.tls.watch
        self._listening: list[asyncio.Server] = []
        self.ready = asyncio.Event()

    async def run(self) -> None:
        """Serve until cancelled; open streams end first, then requests have three seconds."""
        runner = web.AppRunner(
            self._app,
            access_log=None,
            auto_decompress=False,  # a small body must not become a large one before it can be refused
            handle_signals=False,
            max_line_size=LONGEST_LINE,
            keepalive_timeout=_IDLE_SECONDS,
            shutdown_timeout=_SHUTDOWN_SECONDS,
        )
        await runner.setup()
        made = protocols(runner)
        try:
            await self._listen(made)
            self.ready.set()
            async with asyncio.TaskGroup() as group:
                for name, part in {**self._parts, "stalled": Stalled(made.transports).watch}.items():
                    group.create_task(supervise(name, part))
                await asyncio.Event().wait()
        finally:
            for listening in self._listening:
                listening.close()
            await made.close(_SHUTDOWN_SECONDS)
            await runner.cleanup()

    async def _listen(self, made: Shortcuts) -> None:
        loop, doors = asyncio.get_running_loop(), self._listeners
        public = secured(made, doors.tls.context) if doors.tls else made
        self._listening.append(await loop.create_server(public, sock=doors.public, backlog=BACKLOG))
        if doors.local is not None:
            self._listening.append(await loop.create_server(made, sock=doors.local, backlog=BACKLOG))
