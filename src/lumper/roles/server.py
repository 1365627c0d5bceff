"""The server: the one port, the truth in the database, and the way of messages out of and into it."""

from __future__ import annotations

import asyncio
import socket

import structlog
from aiohttp import web

from lumper.history.store import History
from lumper.model.events import EVENTS
from lumper.queue.port import Broker
from lumper.queue.retry import RetryPolicy
from lumper.roles.acceptance import Acceptance
from lumper.roles.base import consume, forever
from lumper.roles.relay import relay

log = structlog.get_logger(__name__)

_EXPIRE_SECONDS = 5.0
_SHUTDOWN_SECONDS = 3.0
# A chunk of a log may come before the one in front of it: look again soon, and for long when the disk is full.
_EVENTS = RetryPolicy(attempts=400, first=0.05, factor=1.5, longest=30.0)


class Server:
    """Serves `app` on `listener` and handles events until cancelled."""

    def __init__(self, app: web.Application, listener: socket.socket, history: History, broker: Broker) -> None:
        self._app = app
        self._listener = listener
        self._history = history
        self._broker = broker
        self.ready = asyncio.Event()

    async def run(self) -> None:
        """Serve until cancelled; open streams end first, then requests have three seconds."""
        acceptance = Acceptance(self._history)
        runner = web.AppRunner(
            self._app,
            access_log=None,
            auto_decompress=False,  # a small body must not become a large one before it can be refused
            handle_signals=False,
            shutdown_timeout=_SHUTDOWN_SECONDS,
        )
        await runner.setup()
        try:
            await web.SockSite(runner, self._listener).start()
            self.ready.set()
            async with asyncio.TaskGroup() as group:
                group.create_task(relay(self._history.outbox, self._broker))
                group.create_task(consume(self._broker, EVENTS, acceptance.handle, _EVENTS))
                group.create_task(forever("builds.expire", _EXPIRE_SECONDS, acceptance.expire))
        finally:
            await runner.cleanup()
