"""The worker: takes jobs, holds them by heartbeat, builds, ships the log, tells the result. It has no database.

A job is acknowledged as soon as the server can know that it was taken (the event is stored); from then on the
lease that the server keeps, extended by heartbeats, says whether the worker lives. So no time limit of the broker's
ends a long build, and nothing is handed to a worker that is busy.

Nothing that a worker tells waits for a disk of its own machine: a power cut that takes it back has ended the worker
too, and its builds begin again.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import uuid
from datetime import UTC, datetime
from pathlib import Path

from lumper.build.run import Builder
from lumper.build.upkeep import Upkeep, UpkeepLimits
from lumper.errors import LumperError, QueueError, QueueUnavailable
from lumper.logs import get_logger
from lumper.model import events
from lumper.model.builds.build import Outcome, Result
from lumper.model.builds.lease import HEARTBEAT_SECONDS
from lumper.model.builds.masking import Masker
from lumper.model.images.image import private_tag
from lumper.queue.codec import decode, encode
from lumper.queue.port import Broker, Message
from lumper.queue.retry import RetryPolicy
from lumper.roles.base import RECONNECT, consume, forever, persist
from lumper.roles.shipper import LogShipper, take_left

log = get_logger(__name__)

Key = tuple[int, int, str]  # build id, attempt, claim

_UPKEEP_SECONDS = 120.0
_IDLE_BEATS = 3  # one of so many heartbeats is told by a worker that holds nothing
_HEARD = RetryPolicy(attempts=3, first=0.5)


class Worker:
    """One worker process. `spool` is a folder of its own for logs on their way, of which each has `log_limit` bytes."""

    def __init__(
        self,
        broker: Broker,
        builder: Builder,
        *,
        name: str,
        concurrency: int,
        spool: Path,
        labels: tuple[str, ...] = (),
        log_limit: int = 0,
        upkeep: UpkeepLimits | None = None,
    ) -> None:
        self._broker = broker
        self._builder = builder
        self._name = name
        self._concurrency = concurrency
        self._spool = spool
        self._labels = labels
        self._log_limit = log_limit
        self._upkeep = upkeep or UpkeepLimits()
        self._begin()

    def _begin(self) -> None:
        """A new life, which holds nothing."""
        self._boot = secrets.token_hex(8)
        self._beats = 0
        self._slots = asyncio.Semaphore(self._concurrency)
        self._held: dict[Key, asyncio.Task[Result] | None] = {}  # None: taken, and not begun yet
        self._stopped: set[Key] = set()

    async def run(self) -> None:
        """Work until cancelled; then running builds are stopped, and the server gives them to somebody else."""
        self._begin()
        self._spool.mkdir(parents=True, exist_ok=True)
        left = {private_tag(build_id, attempt) for build_id, attempt in await asyncio.to_thread(take_left, self._spool)}
        await self._say(self._online(self._boot, self._concurrency))
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._take_jobs(group))
                group.create_task(consume(self._broker, events.worker_topic(self._name), self._hear, _HEARD))
                group.create_task(forever("worker.heartbeat", HEARTBEAT_SECONDS, self._beat))
                for name, chore in Upkeep(self._builder, self._upkeep, self._tags, left).chores().items():
                    group.create_task(forever(name, _UPKEEP_SECONDS, chore))
        finally:
            await self._farewell()
            await self._builder.engine.close()

    async def _say(self, event: events.Event) -> None:
        message = Message(uuid.uuid4().hex, events.EVENTS, encode(event))
        await persist(lambda: self._broker.publish([message], durable=False), type(event).__name__)

    def _online(self, boot: str, slots: int) -> events.WorkerOnline:
        return events.WorkerOnline(self._name, boot, slots, self._labels, datetime.now(UTC))

    async def _farewell(self) -> None:
        with contextlib.suppress(QueueUnavailable):  # the lease ends by itself
            online = encode(self._online(secrets.token_hex(8), 0))
            await self._broker.publish([Message(uuid.uuid4().hex, events.EVENTS, online)])

    async def _take_jobs(self, group: asyncio.TaskGroup) -> None:
        tries = 0
        while True:
            await self._slots.acquire()
            begun = False
            try:
                begun = await self._take_one(group)
                tries = 0
            except QueueUnavailable as exc:
                tries += 1
                log.warning("the queue is away", action="worker.wait", error=exc.sentence)
                await asyncio.sleep(RECONNECT.pause(tries))
            finally:
                if not begun:
                    self._slots.release()

    async def _take_one(self, group: asyncio.TaskGroup) -> bool:
        """Wait for a job and begin it; whether one was begun, which gives its slot back at its end."""
        delivery = await self._broker.take(events.jobs_topic(self._name))
        try:
            job = _job(delivery.message.body)
        except QueueError as exc:
            log.error("not a job for a worker", action="worker.unknown", error=exc.sentence)
            await delivery.dead_letter(exc.sentence)
            return False
        key = (job.build_id, job.attempt, secrets.token_hex(8))
        self._held[key] = None
        await self._say(events.AttemptStarted(*key, self._name, self._boot, datetime.now(UTC)))
        group.create_task(self._attempt(job, key))
        with contextlib.suppress(QueueUnavailable):  # then the job comes again, and its second claim is refused
            await delivery.ack()
        return True

    async def _attempt(self, job: events.BuildJob, key: Key) -> None:
        try:
            log.info("a build begins", action="build.start", build=key[0], attempt=key[1], project=job.project)
            result, log_size = await self._carry_out(job, key)
            log.info("a build ends", action="build.end", build=key[0], attempt=key[1], outcome=result.outcome.value)
            await self._say(events.AttemptFinished(*key, datetime.now(UTC), log_size, result))
        finally:
            await self._let_go(job, key)

    async def _let_go(self, job: events.BuildJob, key: Key) -> None:
        try:
            if self._held[key] is not None:  # also after a cancellation just when the engine had given the name
                await self._builder.forget(job)
        finally:
            del self._held[key]
            self._stopped.discard(key)
            self._slots.release()

    async def _carry_out(self, job: events.BuildJob, key: Key) -> tuple[Result, int]:
        """The result and the size of the log; whatever goes wrong, the build ends and the worker goes on."""
        shipper = None
        masker = Masker()
        try:
            async with LogShipper(self._broker, self._spool, *key, masker, self._log_limit) as shipper:
                result = await self._result(job, key, shipper, masker)
            if shipper.failure is not None:
                raise shipper.failure
        except LumperError as exc:
            result = Result(Outcome.FAILED, error=exc.message, hint=exc.hint, temporary=exc.temporary)
        except Exception as exc:
            log.error("the worker itself failed", action="build.broken", build=key[0], exc_info=exc)
            error = masker.mask(f"The worker {self._name} itself failed: {exc!r}.")
            result = Result(Outcome.FAILED, error=error, hint="Its own log tells more.", temporary=True)
        return result, shipper.size if shipper else 0

    async def _result(self, job: events.BuildJob, key: Key, shipper: LogShipper, masker: Masker) -> Result:
        cancelled = Result(Outcome.CANCELLED, error="Cancelled.")
        if key in self._stopped:
            return cancelled
        work = self._held[key] = asyncio.create_task(self._builder.run(job, shipper.report, masker))
        try:
            await asyncio.wait([work])
        except asyncio.CancelledError:  # the role itself is ending
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            raise
        return cancelled if work.cancelled() else work.result()

    async def _hear(self, payload: events.Payload) -> None:
        if not isinstance(payload, events.CancelBuild):
            return
        for key, work in self._held.items():
            if key[:2] == (payload.build_id, payload.attempt) and payload.claim in ("", key[2]):
                log.info("a build is cancelled", action="build.cancel", build=key[0], attempt=key[1])
                self._stopped.add(key)
                if work is not None:
                    work.cancel()

    async def _beat(self) -> None:
        self._beats += 1
        if not self._held and self._beats % _IDLE_BEATS:
            return
        beat = events.Heartbeat(self._name, tuple(self._held), self._boot, self._concurrency, self._labels)
        await self._broker.publish([Message(uuid.uuid4().hex, events.EVENTS, encode(beat))], durable=False)

    def _tags(self) -> set[str]:
        """The private tags of the attempts that are under way."""
        return {private_tag(build_id, attempt) for build_id, attempt, _ in self._held}


def _job(body: bytes) -> events.BuildJob:
    payload = decode(body)
    if not isinstance(payload, events.BuildJob):
        raise QueueError(f"{type(payload).__name__} is not a job for a worker.")
    return payload
