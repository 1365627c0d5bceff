"""The server: the one port, the truth in the database, and the way of messages out of and into it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial

import structlog
from aiohttp import web

from lumper.errors import Conflict
from lumper.history.store import History
from lumper.metrics import Metrics
from lumper.model.events import EVENTS, NOTIFY, STATUSES, BuildReport, RolloutReport
from lumper.model.lease import LEASE_SECONDS
from lumper.queue.codec import decode
from lumper.queue.port import Broker
from lumper.queue.retry import RetryPolicy
from lumper.registry.pulls import FLUSH_SECONDS
from lumper.registry.registry import Registry
from lumper.roles.acceptance import Acceptance
from lumper.roles.attester import Attester
from lumper.roles.base import consume, forever, supervise
from lumper.roles.bases import Bases
from lumper.roles.forge import ForgeDesk
from lumper.roles.leader import lead
from lumper.roles.log_keeper import LOGS_SECONDS, LogKeeper
from lumper.roles.relay import relay
from lumper.roles.teller import Teller
from lumper.roles.triggers import Triggers
from lumper.web.shortcut import protocols
from lumper.web.tls import Certificate

log = structlog.get_logger(__name__)

_EXPIRE_SECONDS = 5.0
_DISPATCH_SECONDS = 1.0
_NAMES_SECONDS = 5.0
_UPLOADS_SECONDS = 600.0
_SCHEDULE_SECONDS = 15.0
_RECONCILE_SECONDS = 30.0
_BASES_SECONDS = 3600.0
_SIGN_SECONDS = 1.0
_UPLOAD_AGE = timedelta(days=1)  # a client that has not come back by then does not come back
_SHUTDOWN_SECONDS = 3.0
_IDLE_SECONDS = 75.0  # between requests, and for the head of one; proxies must give up first (nginx: 60)
# A chunk of a log may come before the one in front of it: look again soon, and for long when the disk is full.
_EVENTS = RetryPolicy(attempts=400, first=0.05, factor=1.5, longest=30.0)
# A forge that is away for a day hears of a build no more.
_STATUSES = RetryPolicy(attempts=30, first=2.0, factor=3.0, longest=3600.0)


class Server:
    """Serves `app` on `listener` and handles events until cancelled.

    Every `gc_interval` seconds the registry gives up what nobody needs; 0 for never. With `tls` it is shown on
    `listener`, and `local` is where programs on this machine speak plain HTTP.
    """

    def __init__(
        self,
        app: web.Application,
        listener: socket.socket,
        history: History,
        registry: Registry,
        broker: Broker,
        metrics: Metrics,
        triggers: Triggers,
        desk: ForgeDesk,
        bases: Bases,
        *,
        gc_interval: float = 0.0,
        tls: Certificate | None = None,
        local: socket.socket | None = None,
        teller: Teller | None = None,
        attester: Attester | None = None,
        keeper: LogKeeper | None = None,
    ) -> None:
        self._attester = attester
        self._keeper = keeper
        self._teller = teller
        self._metrics = metrics
        self._triggers = triggers
        self._desk = desk
        self._bases = bases
        self._tls = tls
        self._local = local
        self._gc_interval = gc_interval
        self._app = app
        self._registry = registry
        self._listener = listener
        self._history = history
        self._broker = broker
        self._listening: list[asyncio.Server] = []
        self.ready = asyncio.Event()

    async def run(self) -> None:
        """Serve until cancelled; open streams end first, then requests have three seconds."""
        runner = web.AppRunner(
            self._app,
            access_log=None,
            auto_decompress=False,  # a small body must not become a large one before it can be refused
            handle_signals=False,
            keepalive_timeout=_IDLE_SECONDS,
            shutdown_timeout=_SHUTDOWN_SECONDS,
        )
        await runner.setup()
        try:
            await self._listen(runner)
            self.ready.set()
            async with asyncio.TaskGroup() as group:
                for name, part in self._parts().items():
                    group.create_task(supervise(name, part))
        finally:
            for listening in self._listening:
                listening.close()
            await runner.cleanup()
            await self._registry.pulls.flush()

    async def _listen(self, runner: web.AppRunner) -> None:
        loop, made = asyncio.get_running_loop(), protocols(runner)
        context = self._tls.context if self._tls else None
        self._listening.append(await loop.create_server(made, sock=self._listener, ssl=context))
        if self._local is not None:
            self._listening.append(await loop.create_server(made, sock=self._local))

    def _parts(self) -> dict[str, Callable[[], Awaitable[None]]]:
        acceptance = Acceptance(self._history)
        parts: dict[str, Callable[[], Awaitable[None]]] = {
            "relay": lambda: lead(self._history.database, "relay", self._relay),
            "events": lambda: consume(self._broker, EVENTS, acceptance.handle, _EVENTS),
            "statuses": lambda: consume(self._broker, STATUSES, self._desk.handle, _STATUSES),
            "leases": lambda: self._expire_leases(acceptance),
            "names": self._tell_names,
            "pulls": lambda: forever("registry.pulls", FLUSH_SECONDS, self._registry.pulls.flush),
            "uploads": lambda: forever("uploads.expire", _UPLOADS_SECONDS, self._expire_uploads),
        }
        periodic: list[tuple[str, float, Callable[[], Awaitable[None]]]] = [
            ("dispatch", _DISPATCH_SECONDS, self._history.builds.dispatch.tick),
            ("schedule", _SCHEDULE_SECONDS, self._triggers.keep_schedules),
            ("reconcile", _RECONCILE_SECONDS, self._triggers.reconcile),
            ("bases", _BASES_SECONDS, self._bases.check),
        ]
        if self._attester is not None:
            periodic.append(("sign", _SIGN_SECONDS, self._attester.sign))
            periodic.append(("describe", _SIGN_SECONDS, self._attester.describe))
        for name, period, action in periodic:
            parts[name] = partial(lead, self._history.database, name, partial(forever, name, period, action))
        if self._keeper is not None:
            tidy = partial(forever, "logs", LOGS_SECONDS, self._keeper.tidy)
            parts["logs"] = partial(lead, self._history.database, "logs", tidy)
        if self._teller is not None:
            parts["webhooks"] = self._teller.run
        if self._tls is not None:
            parts["tls"] = self._tls.watch
        if self._gc_interval:
            parts["gc"] = self._collect_for_ever
        return parts

    def _published(self, topic: str, body: bytes) -> None:
        """Count what people are told of: every end of a build or rollout."""
        if topic != NOTIFY:
            return
        report = decode(body)
        if isinstance(report, BuildReport):
            self._metrics.build_ended(report.build.state.value, report.build.seconds)
        elif isinstance(report, RolloutReport):
            self._metrics.rollout_ended(report.state.value)

    async def _relay(self) -> None:
        await relay(self._history.outbox, self._broker, self._published)

    async def _expire_leases(self, acceptance: Acceptance) -> None:
        """Look for lost workers, once there was time to hear of those that live: the server may have been away."""
        await asyncio.sleep(LEASE_SECONDS)
        await forever("builds.expire", _EXPIRE_SECONDS, acceptance.expire)

    async def _expire_uploads(self) -> None:
        expired = await self._registry.blobs.expire_uploads(datetime.now(UTC) - _UPLOAD_AGE)
        if expired:
            log.info("abandoned uploads were removed", action="uploads.expire", count=expired)

    async def _tell_names(self) -> None:
        await self._registry.names.begin()
        await forever("registry.names", _NAMES_SECONDS, self._registry.names.tell)

    async def _collect_for_ever(self) -> None:
        """Not at once: what clients were told before a restart is remembered no longer, and they may rely on it."""
        await asyncio.sleep(self._gc_interval)
        await forever("registry.gc", self._gc_interval, self._collect)

    async def _collect(self) -> None:
        try:
            report = await self._registry.collector.run()
        except Conflict:  # another server does it
            return
        if any(report.counts.values()):
            counts = {str(kind): count for kind, count in report.counts.items()}
            log.info("garbage was collected", action="registry.gc", freed=report.freed, **counts)
