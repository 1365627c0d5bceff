"""What the server makes of the events that workers and deployers send: each in one transaction, each idempotent."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row

from lumper.errors import Conflict, Invalid, LogGap, OutOfTurn, RuleForbids
from lumper.line.builds.builds import build_from_row
from lumper.line.builds.verification_rows import gave_image
from lumper.line.history import History
from lumper.logs import get_logger
from lumper.model import events
from lumper.model.builds.build import BuildState, Outcome, Result
from lumper.model.builds.lease import TryAgain, after_temporary_failure
from lumper.model.builds.log import unpack
from lumper.model.deployment import Service
from lumper.model.images.activity import Actor
from lumper.model.images.image import moved_tags, private_tag
from lumper.model.images.tag_moves import allowed_tags
from lumper.registry.catalog.tagging import drop_private_tags, move_tags, succeeded_tags
from lumper.store.connection import AsyncConnection

log = get_logger(__name__)

_TURN_SECONDS = 2.0
_LOOK_SECONDS = 0.1


class Acceptance:
    """The consumer of the topic `events`.

    Several servers share the topic, and a broker hands out a build's events in their order. So the event that is
    missing before another one is in the hands of another server: it is awaited for `turn` seconds. Then that server
    may be gone, and the error is raised until the missing event has come.
    """

    def __init__(self, history: History, turn: float = _TURN_SECONDS) -> None:
        self._history = history
        self._turn = turn
        self._overdue: set[tuple[int, int]] = set()  # attempts whose missing event is not waited for again

    async def handle(self, payload: events.Payload) -> None:
        """Handle one event; returning means that it is done with. Raises OutOfTurn, LogGap."""
        if isinstance(payload, events.LogChunk | events.AttemptFinished):
            await self._in_turn(payload)
        else:
            await self._handle(payload)

    async def _in_turn(self, event: events.LogChunk | events.AttemptFinished) -> None:
        attempt, logs = (event.build_id, event.attempt), self._history.logs
        clock = asyncio.get_running_loop().time
        waits = self._history.database.shared and attempt not in self._overdue
        end = clock() + self._turn if waits else 0.0
        while True:
            wakes = logs.wakes
            try:
                await self._handle(event)
                self._overdue.discard(attempt)
                return
            except (OutOfTurn, LogGap):
                if clock() >= end:
                    self._overdue.add(attempt)
                    raise
            await logs.wait(*attempt, sys.maxsize, _LOOK_SECONDS, wakes)

    async def _handle(self, payload: events.Payload) -> None:
        match payload:
            case events.LogChunk():
                await self._log_chunk(payload)
            case events.Heartbeat():
                await self._history.builds.extend(payload)
            case events.AttemptStarted():
                taken = await self._history.builds.take(payload)
                log.info("an attempt began", action="attempt.start", build=payload.build_id, taken=taken)
            case events.AttemptFinished():
                await self._finished(payload)
            case events.WorkerOnline():
                await self._again(await self._history.builds.online(payload), "its worker began anew")
            case events.RolloutProgress():
                await self._history.rollouts.progress(payload)
                self._history.logs.wake()
            case events.HostObserved():
                await self._history.rollouts.observed(payload)
            case _:
                log.error("not an event", action="event.unknown", kind=type(payload).__name__)

    async def expire(self) -> None:
        """Give builds of lost workers to others."""
        await self._again(await self._history.builds.expire(), "its worker was not heard of")

    async def _again(self, builds: list[int], why: str) -> None:
        for build_id in builds:
            log.warning("a build begins again", action="build.again", build=build_id, why=why)
        if builds:
            self._history.logs.wake()

    async def _log_chunk(self, event: events.LogChunk) -> None:
        if await self._counts(event):
            await self._history.logs.append(event.build_id, event.attempt, event.offset, unpack(event.data))

    async def _counts(self, event: events.LogChunk | events.AttemptFinished) -> bool:
        """Whether the event's claim holds the attempt. Raises OutOfTurn while its beginning is not known."""
        builds = self._history.builds
        if await builds.holds(event.build_id, event.attempt, event.claim):
            return True
        if await builds.waits(event.build_id, event.attempt):
            raise _out_of_turn(event)
        return await builds.holds(event.build_id, event.attempt, event.claim)  # it may have begun between the two looks

    async def _finished(self, event: events.AttemptFinished) -> None:
        whole = await self._history.logs.size(event.build_id, event.attempt) >= event.log_size
        if not whole and await self._counts(event):
            raise LogGap(f"The log of build {event.build_id} is not whole yet.")

        async def end(connection: AsyncConnection) -> None:
            row = await self._history.builds.row(connection, event.build_id)
            if row is not None and (row.attempt, row.state) == (event.attempt, BuildState.QUEUED):
                raise _out_of_turn(event)
            if row is None or (row.attempt, row.claim, row.state) != (event.attempt, event.claim, BuildState.RUNNING):
                log.warning("a result came too late", action="attempt.stale", build=event.build_id, claim=event.claim)
                if row is not None and (BuildState(row.state).final or event.attempt < row.attempt):
                    # It may have pushed after the attempt that counts had cleared up.
                    await drop_private_tags(connection, row.image, [private_tag(row.id, event.attempt)])
                return
            if row.verifies and event.result.outcome is Outcome.SUCCEEDED:
                await self._built_again(connection, row, event)
            else:
                await self._store(connection, row, event)
                await self._clear(connection, row)

        await self._history.database.write_at_once(end)
        self._history.logs.wake()

    async def _clear(self, connection: AsyncConnection, row: Row[Any], *, kept: int = 0) -> None:
        """Remove the private tags of all attempts but `kept`: earlier ones may have pushed before they were lost."""
        names = [private_tag(row.id, attempt) for attempt in range(1, row.attempt + 1) if attempt != kept]
        await drop_private_tags(connection, row.image, names)

    async def _built_again(self, connection: AsyncConnection, row: Row[Any], event: events.AttemptFinished) -> None:
        """A build whose image is only compared: it moves no tag, and its own tag stays until that is done."""
        result = event.result
        told = {"finished_at": event.at, "log_size": event.log_size, "stages": result.stages, "commit": result.commit}
        await self._history.builds.end(connection, row.id, BuildState.SUCCEEDED, **told, error="", hint="")
        compared = await gave_image(connection, row, result.digest, result.bases)
        await self._clear(connection, row, kept=row.attempt if compared else 0)

    async def _store(self, connection: AsyncConnection, row: Row[Any], event: events.AttemptFinished) -> None:
        result = event.result
        common: dict[str, Any] = {"finished_at": event.at, "log_size": event.log_size, "stages": result.stages}
        if result.commit:
            common |= {
                "commit": result.commit,
                "author_name": result.author.name,
                "author_email": result.author.email,
            }
        builds = self._history.builds
        if row.cancel_requested and (result.temporary or result.outcome is Outcome.SUCCEEDED):
            # The word to stop came too late. An image that nobody wants must not take tags from a newer one.
            await builds.end(connection, row.id, BuildState.CANCELLED, **common, error="Cancelled.")
            return
        match result.outcome:
            case Outcome.SUCCEEDED:
                await self._succeeded(connection, row, result, common)
            case Outcome.CANCELLED if row.cancel_requested:
                await builds.end(connection, row.id, BuildState.CANCELLED, **common, error=result.error)
            case Outcome.CANCELLED:  # nobody asked for that
                await builds.lost(connection, row)
            case Outcome.SPLIT if row.verifies:
                error = "The commit has several images by now; its recipe is read in another way than then."
                await builds.end(connection, row.id, BuildState.FAILED, **common, error=error)
            case Outcome.SPLIT:
                await self._split(connection, row, result, common)
            case Outcome.SKIPPED:
                await builds.end(connection, row.id, BuildState.SKIPPED, **common, error=result.error)
            case Outcome.FAILED:
                decision = after_temporary_failure(row.failures + 1)
                if result.temporary and isinstance(decision, TryAgain):
                    await builds.again(connection, row.id, decision, failures=1)
                    return
                failed = BuildState.FAILED
                await builds.end(connection, row.id, failed, **common, error=result.error, hint=result.hint)

    async def _split(self, connection: AsyncConnection, row: Row[Any], result: Result, common: dict[str, Any]) -> None:
        builds = self._history.builds
        if row.cancel_requested:
            await builds.end(connection, row.id, BuildState.CANCELLED, **common, error="Cancelled.")
            return
        try:
            added = await builds.split(connection, row, result.parts)
        except Invalid as exc:
            await builds.end(connection, row.id, BuildState.FAILED, **common, error=exc.message, hint=exc.hint)
            return
        log.info("a commit has several images", action="build.split", build=row.id, others=added)

    async def _succeeded(
        self, connection: AsyncConnection, row: Row[Any], result: Result, common: dict[str, Any]
    ) -> None:
        builds = self._history.builds
        tags = await self._tags(connection, row, result)
        try:
            actor = Actor(row.pusher_name, "build")
            size = await move_tags(connection, row.image, result.digest, tags, row.id, datetime.now(UTC), actor)
        except (Conflict, RuleForbids) as exc:
            hint = exc.hint or "Restart the build; if it fails again, look at the registry."
            await builds.end(connection, row.id, BuildState.FAILED, **common, error=exc.message, hint=hint)
            return
        hint = await self._deployable(connection, row, result.service)
        pushed = {
            "bases": [vars(base) for base in result.bases],
            "parameters": result.parameters,
            "attested": "",
            "digest": result.digest,
            "size": size,
            "tags": list(tags),
            "elsewhere": list(result.elsewhere),
            "error": "",
            "hint": hint,
        }
        await builds.end(connection, row.id, BuildState.SUCCEEDED, **common, **pushed)
        if result.service and not hint:
            changed = await builds.row(connection, row.id)
            await self._history.rollouts.queue(
                connection, result.service, project_id=row.project_id, build=build_from_row(changed or row)
            )

    async def _tags(self, connection: AsyncConnection, row: Row[Any], result: Result) -> tuple[str, ...]:
        """The image tags that the build moves."""
        before = await succeeded_tags(connection, row.image)
        if result.tags is None:
            return moved_tags(row.ref, [git_tag for git_tag, _ in before])
        return allowed_tags(row.ref, result.tags, before)

    async def _deployable(self, connection: AsyncConnection, row: Row[Any], service: Service | None) -> str:
        """Why the service may not be deployed by this project, or ""."""
        owner = await self._history.rollouts.owner(connection, service.name) if service else None
        if service is None or owner in (None, row.project_id):
            return ""
        log.error("a service of another project", action="rollout.refused", build=row.id, service=service.name)
        return f"Not deployed: the service {service.name!r} belongs to another project; choose another [deploy] name."


def _out_of_turn(event: events.LogChunk | events.AttemptFinished) -> OutOfTurn:
    return OutOfTurn(f"Nobody is known to have begun attempt {event.attempt} of build {event.build_id}.")
