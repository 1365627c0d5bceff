"""The deployer: carries out rollouts on its host and tells what runs there. It has no database."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from datetime import UTC, datetime

from lumper.deploy.port import Credentials, Host
from lumper.deploy.rollout import RolloutResult, observe, roll_out
from lumper.errors import HostUnavailable, QueueUnavailable
from lumper.logs import get_logger
from lumper.model import events
from lumper.model.deployment import Container, Release, RolloutState
from lumper.queue.codec import encode
from lumper.queue.port import Broker, Message
from lumper.queue.retry import RetryPolicy
from lumper.roles.base import consume, forever, persist

log = get_logger(__name__)

_OBSERVE_SECONDS = 2.0
_AGAIN = RetryPolicy(attempts=5, first=1.0)
_PATIENCE = RetryPolicy(attempts=6, first=1.0, factor=3.0, longest=60.0)  # two minutes for an engine to come back


class Deployer:
    """One host's deployer. `credentials` are for the registry that the host pulls from."""

    def __init__(self, broker: Broker, host: Host, credentials: Credentials) -> None:
        self._broker = broker
        self._host = host
        self._credentials = credentials
        self._seen: tuple[Container, ...] | None = None

    async def run(self) -> None:
        """Deploy and observe until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(consume(self._broker, events.DEPLOY, self._handle, _AGAIN))
                group.create_task(forever("deploy.observe", _OBSERVE_SECONDS, self._observe))
        finally:
            await self._host.close()

    async def _handle(self, payload: events.Payload) -> None:
        if not isinstance(payload, events.RolloutJob):
            log.error("not a rollout", action="rollout.unknown", kind=type(payload).__name__)
            return
        release = payload.release
        log.info("a rollout begins", action="rollout.start", rollout=payload.rollout_id, service=release.service.name)
        journal = Journal(self._broker, payload.rollout_id)
        await journal.begin()
        result = await self._roll_out(release, journal)
        with contextlib.suppress(QueueUnavailable):  # what runs there is told again in two seconds
            await self._observe()
        await journal.end(result.state, result.error, result.hint)
        log.info("a rollout ends", action="rollout.end", rollout=payload.rollout_id, state=result.state.value)

    async def _roll_out(self, release: Release, journal: Journal) -> RolloutResult:
        tries = 0
        while True:
            try:
                return await roll_out(self._host, release, credentials=self._credentials, journal=journal.write)
            except HostUnavailable as exc:
                tries += 1
                delay = _PATIENCE.delay(tries)
                if delay is None:
                    return RolloutResult(RolloutState.FAILED, exc.message, exc.hint)
                await journal.write(f"{exc.message} Trying again in {delay:g} s.")
                await asyncio.sleep(delay)
            except Exception as exc:
                log.error(
                    "the deployer itself failed", action="rollout.broken", service=release.service.name, exc_info=exc
                )
                error = f"The deployer itself failed: {exc!r}."
                return RolloutResult(RolloutState.FAILED, error, "Its own log tells more.")

    async def _observe(self) -> None:
        try:
            seen = await observe(self._host)
        except HostUnavailable:
            return  # what runs there is not known now; what was seen last stays with its time
        if seen == self._seen:
            return
        event = events.HostObserved(self._host.name, datetime.now(UTC), seen)
        await self._broker.publish([Message(uuid.uuid4().hex, events.EVENTS, encode(event))])
        self._seen = seen


class Journal:
    """The journal of one rollout, told to the server line by line."""

    def __init__(self, broker: Broker, rollout_id: int) -> None:
        self._broker = broker
        self._rollout_id = rollout_id
        self._position = 0

    async def begin(self) -> None:
        """The rollout runs."""
        await self._tell(RolloutState.RUNNING, ())

    async def write(self, line: str) -> None:
        """Add a line."""
        await self._tell(RolloutState.RUNNING, (line,))
        self._position += 1

    async def end(self, state: RolloutState, error: str, hint: str) -> None:
        """The rollout has ended."""
        await self._tell(state, (), error, hint)

    async def _tell(self, state: RolloutState, lines: tuple[str, ...], error: str = "", hint: str = "") -> None:
        event = events.RolloutProgress(
            self._rollout_id, state, self._position, lines, datetime.now(UTC), error=error, hint=hint
        )
        message = Message(uuid.uuid4().hex, events.EVENTS, encode(event))
        await persist(lambda: self._broker.publish([message]), "rollout")
