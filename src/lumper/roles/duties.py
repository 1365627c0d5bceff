"""What the server does beside answering requests: the way of messages out of and into it, and all that is periodic."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from lumper.errors import Conflict
from lumper.line.history import History
from lumper.logs import get_logger
from lumper.metrics import Metrics
from lumper.model.builds.lease import LEASE_SECONDS
from lumper.model.events import EVENTS, NOTIFY, STATUSES, BuildReport, RolloutReport
from lumper.queue.codec import decode
from lumper.queue.port import Broker
from lumper.queue.retry import RetryPolicy
from lumper.registry.gc.steady_clock import SteadyClock
from lumper.registry.registry import Registry
from lumper.registry.retention.pulls import FLUSH_SECONDS
from lumper.roles.acceptance import Acceptance
from lumper.roles.attester import Attester
from lumper.roles.base import Part, consume, forever
from lumper.roles.bases import Bases
from lumper.roles.forge import ForgeDesk
from lumper.roles.leader import lead
from lumper.roles.log_keeper import LOGS_SECONDS, LogKeeper
from lumper.roles.relay import relay
from lumper.roles.triggers import Triggers
from lumper.roles.verifier import Verifier
from lumper.roles.webhook_sender import WebhookSender
from lumper.store.database import Commits

log = get_logger(__name__)

Action = Callable[[], Awaitable[object]]

_EXPIRE_SECONDS = 5.0
_DISPATCH_SECONDS = 1.0
_NAMES_SECONDS = 5.0
_UPLOADS_SECONDS = 600.0
_SCHEDULE_SECONDS = 15.0
_RECONCILE_SECONDS = 30.0
_BASES_SECONDS = 3600.0
_SIGN_SECONDS = 1.0
_VERIFY_SECONDS = 1.0
_QUIET_SECONDS = 10.0  # what failed is tried again, though nothing was committed
_UPLOAD_AGE = timedelta(days=1)  # a client that has not come back by then does not come back
# A chunk of a log may come before the one in front of it: look again soon, and for long when the disk is full.
_EVENTS = RetryPolicy(attempts=400, first=0.05, factor=1.5, longest=30.0)
# A forge that is away for a day hears of a build no more.
_STATUSES = RetryPolicy(attempts=30, first=2.0, factor=3.0, longest=3600.0)


@dataclass(frozen=True)
class Duties:
    """All duties and whom they are done with.

    Every `gc_interval` seconds the registry gives up what nobody needs; 0 for never.
    """

    history: History
    registry: Registry
    broker: Broker
    metrics: Metrics
    triggers: Triggers
    desk: ForgeDesk
    bases: Bases
    teller: WebhookSender
    attester: Attester
    verifier: Verifier
    keeper: LogKeeper
    gc_interval: float = 0.0

    def parts(self) -> dict[str, Part]:
        """What runs side by side until it is cancelled, by name."""
        acceptance, hearing = Acceptance(self.history), Hearing()
        parts: dict[str, Part] = {
            "relay": lambda: lead(self.history.database, "relay", self._relay),
            "events": lambda: consume(self.broker, EVENTS, acceptance.handle, _EVENTS, hearing),
            "statuses": lambda: consume(self.broker, STATUSES, self.desk.handle, _STATUSES),
            "leases": lambda: forever("builds.expire", _EXPIRE_SECONDS, when_heard(acceptance.expire, hearing)),
            "names": self._tell_names,
            "pulls": lambda: forever("registry.pulls", FLUSH_SECONDS, self.registry.pulls.flush),
            "uploads": self._expire_uploads,
            "webhooks": lambda: lead(self.history.database, "teller", self.teller.run),
        }
        database = self.history.database
        for name, period, action in self._of_one():
            parts[name] = partial(lead, database, name, partial(forever, name, period, action))
        for name, period, action in self._of_one_after_commits():
            wait = partial(Commits(database).wait, _QUIET_SECONDS)
            parts[name] = partial(lead, database, name, partial(forever, name, period, action, wait))
        if self.gc_interval:
            parts["gc"] = self._collect_for_ever
        return parts

    def _of_one(self) -> list[tuple[str, float, Action]]:
        """What one of several servers does every so many seconds."""
        return [
            ("dispatch", _DISPATCH_SECONDS, self.history.builds.dispatch.tick),
            ("schedule", _SCHEDULE_SECONDS, self.triggers.keep_schedules),
            ("reconcile", _RECONCILE_SECONDS, self.triggers.reconcile),
            ("bases", _BASES_SECONDS, self.bases.check),
            ("logs", LOGS_SECONDS, self.keeper.tidy),
        ]

    def _of_one_after_commits(self) -> list[tuple[str, float, Action]]:
        """What one of several servers does, at most every so many seconds, when something was written."""
        return [
            ("sign", _SIGN_SECONDS, self.attester.sign),
            ("describe", _SIGN_SECONDS, self.attester.describe),
            ("verify", _VERIFY_SECONDS, self.verifier.compare),
        ]

    def _published(self, topic: str, body: bytes) -> None:
        """Count what people are told of: every end of a build or rollout."""
        if topic != NOTIFY:
            return
        report = decode(body)
        if isinstance(report, BuildReport):
            self.metrics.build_ended(report.build.state.value, report.build.seconds)
        elif isinstance(report, RolloutReport):
            self.metrics.rollout_ended(report.state.value)

    async def _relay(self) -> None:
        await relay(self.history.outbox, self.broker, self._published)

    async def _expire_uploads(self) -> None:
        clock = SteadyClock(_UPLOAD_AGE)

        async def expire() -> None:
            expired = await self.registry.blobs.expire_uploads(clock.now() - _UPLOAD_AGE)
            if expired:
                log.info("abandoned uploads were removed", action="uploads.expire", count=expired)

        await forever("uploads.expire", _UPLOADS_SECONDS, expire)

    async def _tell_names(self) -> None:
        await self.registry.names.begin()
        await forever("registry.names", _NAMES_SECONDS, self.registry.names.tell)

    async def _collect_for_ever(self) -> None:
        """Not at once: what clients were told before a restart is remembered no longer, and they may rely on it."""
        await asyncio.sleep(self.gc_interval)
        await forever("registry.gc", self.gc_interval, self._collect)

    async def _collect(self) -> None:
        try:
            report = await self.registry.collector.run(quick=True)
        except Conflict:  # another server does it
            return
        if any(report.counts.values()):
            counts = {str(kind): count for kind, count in report.counts.items()}
            log.info("garbage was collected", action="registry.gc", freed=report.freed, **counts)


class Hearing:
    """Whether workers are heard of: not while the queue is away. `breaks` counts how often it went."""

    def __init__(self) -> None:
        self.works = False
        self.breaks = 0

    def __call__(self, works: bool) -> None:
        self.breaks += self.works and not works
        self.works = works


def when_heard(
    expire: Action,
    hearing: Hearing,
    now: Callable[[], float] = time.time,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Action:
    """`expire`, which looks for lost workers, once there was time to hear of those that live.

    The server or the queue may have been away, its machine may have stood still, or its clock may have been set since
    the last look.
    """
    looked, breaks = 0.0, 0

    async def look() -> None:
        nonlocal looked, breaks
        if hearing.works and (now() - looked > 2 * _EXPIRE_SECONDS or hearing.breaks != breaks):
            breaks = hearing.breaks
            await sleep(LEASE_SECONDS)
        if not hearing.works or hearing.breaks != breaks:
            return
        await expire()
        looked = now()

    return look
