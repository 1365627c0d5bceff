"""Builds: queued by a push, taken by a worker, ended by a result. Every change is one transaction with its messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Row, select, update

from lumper.errors import Conflict, NotFound
from lumper.line.builds.dispatch import Dispatch
from lumper.line.builds.refs import (
    MOVED_BACK,
    first_of_commit,
    first_values,
    is_back,
    is_late,
    last_asked_for,
    of_ref,
    want_again,
)
from lumper.line.builds.splitting import add_beside, repositories, siblings
from lumper.line.builds.verification_rows import gave_nothing
from lumper.line.outbox import Outbox
from lumper.model import events
from lumper.model.builds.build import ENDED, UNFINISHED, Attested, Base, Build, BuildState, Part
from lumper.model.builds.lease import LEASE_SECONDS, TryAgain, after_lost_attempt
from lumper.model.links import Links
from lumper.model.source import Person, Project, Push
from lumper.model.trigger import Trigger
from lumper.store.connection import AsyncConnection
from lumper.store.database import Database
from lumper.store.tables import builds, projects


def build_from_row(row: Row[Any]) -> Build:
    """A row of `builds` as a value."""
    return Build(
        id=row.id,
        project=row.project,
        ref=row.ref,
        commit=row.commit,
        image=row.image,
        state=BuildState(row.state),
        attempt=row.attempt,
        created_at=row.created_at,
        pusher=Person(row.pusher_name, row.pusher_email),
        author=Person(row.author_name, row.author_email),
        started_at=row.started_at,
        finished_at=row.finished_at,
        worker=row.worker,
        digest=row.digest,
        size=row.size,
        tags=tuple(row.tags),
        elsewhere=tuple(row.elsewhere),
        error=row.error,
        hint=row.hint,
        log_size=row.log_size,
        stages=dict(row.stages),
        trigger=Trigger(row.trigger),
        cause=row.cause,
        bases=tuple(Base(**base) for base in row.bases),
        parameters=dict(row.parameters),
        attested=Attested(row.attested),
        recipe=row.recipe,
        verifies=row.verifies,
    )


class BuildHistory:
    """The table of builds and the rules of its life."""

    def __init__(self, database: Database, outbox: Outbox, links: Links) -> None:
        self._database = database
        self._outbox = outbox
        self._links = links
        self.dispatch = Dispatch(database, outbox)

    async def newest(
        self, *, project: str = "", limit: int = 100, before: int | None = None, images: Sequence[str] | None = None
    ) -> list[Build]:
        """The newest builds first, of one project or of all, and of certain images; `before` is an id to go on from."""
        query = select(builds).order_by(builds.c.id.desc()).limit(limit)
        if project:
            query = query.where(builds.c.project == project)
        if before is not None:
            query = query.where(builds.c.id < before)
        if images is not None:
            query = query.where(builds.c.image.in_(images))
        async with self._database.read() as connection:
            return [build_from_row(row) for row in await connection.execute(query)]

    async def get(self, build_id: int) -> Build:
        """One build. Raises NotFound."""
        async with self._database.read() as connection:
            row = (await connection.execute(select(builds).where(builds.c.id == build_id))).first()
        if row is None:
            raise NotFound(f"There is no build {build_id}.", hint="`lumper builds` shows all.")
        return build_from_row(row)

    async def queue(
        self,
        connection: AsyncConnection,
        project: Project,
        push: Push,
        trigger: Trigger = Trigger.PUSH,
        cause: str = "",
    ) -> tuple[int, bool]:
        """Queue a build of this push, once for each (project, ref, commit): its id, and whether it is to begin.

        A worker that finds several images in the commit has the build split; then the id is that of the first.
        Builds of what the ref pointed at before, and that have not ended, are cancelled; those of other refs go on.
        Where the ref is moved back, what was built of it then is built again. `cause` says in words what made the build
        start, where `trigger` does not say it all.
        """
        known = await first_of_commit(connection, project.id, push)
        last = await last_asked_for(connection, project.id, push.ref)
        if last is not None and is_late(push, last):
            return last.id, False
        if known is not None:
            back = last is not None and is_back(push, last)
            if back:
                await self._take_up_again(connection, project.id, push, known, trigger, cause or MOVED_BACK)
            return known, back
        values = first_values(project, push, trigger, cause)
        result = await connection.execute(builds.insert().values(**values).returning(builds.c.id))
        build_id = int(result.scalar_one())
        await self._tell_forge(connection, build_id)
        await self._supersede(connection, project.id, push, build_id)
        await self.dispatch.give(connection)
        return build_id, True

    async def _take_up_again(
        self, connection: AsyncConnection, project_id: str, push: Push, build_id: int, trigger: Trigger, cause: str
    ) -> None:
        await self._supersede(connection, project_id, push, build_id)
        await want_again(connection, project_id, push)
        await self.all_restarted(connection, build_id, trigger, cause)

    async def _supersede(self, connection: AsyncConnection, project_id: str, push: Push, build_id: int) -> None:
        unfinished = builds.c.state.in_(UNFINISHED)
        others = select(builds).where(*of_ref(project_id, push.ref), builds.c.told_commit != push.commit, unfinished)
        for row in (await connection.execute(others)).all():
            await self._cancel(connection, row, f"Build {build_id} is of a newer commit of the same ref.")

    async def _tell_forge(self, connection: AsyncConnection, build_id: int) -> None:
        """Let the forge hear of the build's state, if the project has a token for that."""
        query = select(projects.c.forge).join(builds).where(builds.c.id == build_id, builds.c.verifies == 0)
        if (await connection.execute(query)).scalar():
            await self._outbox.add(connection, events.STATUSES, events.StatusDue(build_id))

    async def take(self, event: events.AttemptStarted) -> bool:
        """Give the attempt to the worker that says it has begun; whether it holds it now.

        A second worker with the same attempt (its job came twice) is told to stop. What a worker said before it began
        anew, and which is heard only now, is a lost attempt.
        """
        taking = (
            update(builds)
            .where(_is(event), builds.c.attempt == event.attempt, builds.c.state.in_(BuildState.RUNNING.sources))
            .values(
                state=BuildState.RUNNING.value,
                claim=event.claim,
                worker=event.worker,
                boot=event.boot,
                started_at=event.at,
                lease_until=_lease(),
            )
        )

        async def write(connection: AsyncConnection) -> bool:
            if (await connection.execute(taking)).rowcount == 1:
                await self._tell_forge(connection, event.build_id)
                if not await self.dispatch.outlived(connection, event):
                    return True
                await self.lost(connection, (await connection.execute(select(builds).where(_is(event)))).one())
                return False
            if not await self._holds(connection, event.build_id, event.attempt, event.claim):
                stop = events.CancelBuild(event.build_id, event.attempt, event.claim)
                await self._outbox.add(connection, events.worker_topic(event.worker), stop)
            return False

        return await self._database.write_at_once(write)

    async def _holds(self, connection: AsyncConnection, build_id: int, attempt: int, claim: str) -> bool:
        query = select(builds.c.id).where(*_held(build_id, attempt, claim))
        return (await connection.execute(query)).first() is not None

    async def holds(self, build_id: int, attempt: int, claim: str) -> bool:
        """Whether this claim holds the attempt, so that what it says counts."""
        async with self._database.read() as connection:
            return await self._holds(connection, build_id, attempt, claim)

    async def extend(self, event: events.Heartbeat) -> None:
        """Extend the leases of a worker; attempts that it no longer holds are told to stop.

        One that still waits for the news of its beginning is left alone.
        """
        async with self._database.write() as connection:
            await self.dispatch.seen(connection, event)
            for build_id, attempt, claim in event.held:
                extending = update(builds).where(*_held(build_id, attempt, claim)).values(lease_until=_lease())
                if (await connection.execute(extending)).rowcount or await self._waits(connection, build_id, attempt):
                    continue
                stop = events.CancelBuild(build_id, attempt, claim)
                await self._outbox.add(connection, events.worker_topic(event.worker), stop)

    async def waits(self, build_id: int, attempt: int) -> bool:
        """Whether nobody is known yet to have begun this attempt."""
        async with self._database.read() as connection:
            return await self._waits(connection, build_id, attempt)

    async def _waits(self, connection: AsyncConnection, build_id: int, attempt: int) -> bool:
        query = select(builds.c.id).where(
            builds.c.id == build_id, builds.c.attempt == attempt, builds.c.state == BuildState.QUEUED.value
        )
        return (await connection.execute(query)).first() is not None

    async def online(self, event: events.WorkerOnline) -> list[int]:
        """A worker began anew, or ends: queue again what an earlier life of it held; the builds."""
        async with self._database.write() as connection:
            if not await self.dispatch.online(connection, event):
                return []
        earlier = (builds.c.worker == event.worker) & (builds.c.boot != event.boot)
        begun = builds.c.state == BuildState.RUNNING.value  # the next life finds those that it has not begun
        lost = await self._requeue(earlier & begun if event.slots else earlier)
        async with self._database.write() as connection:
            await self.dispatch.give(connection)
        return lost

    async def expire(self) -> list[int]:
        """Queue again what is held by workers that have not been heard of for too long; the builds."""
        return await self._requeue(builds.c.lease_until < datetime.now(UTC))

    async def _requeue(self, condition: Any) -> list[int]:
        query = select(builds).where(builds.c.state.in_(UNFINISHED), condition)
        async with self._database.read() as connection:  # mostly there are none: no write lock for that
            if (await connection.execute(query)).first() is None:
                return []
        async with self._database.write() as connection:
            rows = (await connection.execute(query)).all()
            for row in rows:
                await self.lost(connection, row)
        return [row.id for row in rows]

    async def lost(self, connection: AsyncConnection, row: Row[Any]) -> None:
        """The attempt of this row of `builds` will have no result: the next one, or the end of the build."""
        decision = after_lost_attempt(row.lost + 1)
        if row.cancel_requested:
            await self.end(connection, row.id, BuildState.CANCELLED, error="Cancelled.")
        elif isinstance(decision, TryAgain):
            await self.again(connection, row.id, decision, lost=1)
        else:
            failed = BuildState.FAILED
            await self.end(connection, row.id, failed, error=decision.error, hint=decision.hint)

    async def again(
        self, connection: AsyncConnection, build_id: int, decision: TryAgain, *, failures: int = 0, lost: int = 0
    ) -> None:
        """Queue the next attempt; so many more temporary failures and lost attempts are counted."""
        values = {
            "attempt": builds.c.attempt + 1,
            "failures": builds.c.failures + failures,
            "lost": builds.c.lost + lost,
            "claim": "",
            "worker": "",
            "lease_until": None,
            "started_at": None,
            "due_at": datetime.now(UTC) + timedelta(seconds=decision.delay),
        }
        await self._move(connection, build_id, BuildState.QUEUED, values)
        await self.dispatch.give(connection)

    async def _move(
        self, connection: AsyncConnection, build_id: int, state: BuildState, values: Mapping[str, object]
    ) -> None:
        """Change the state of a build. Raises Conflict for a move that the table in `model/builds/build.py` does not
        have."""
        legal = builds.c.id == build_id, builds.c.state.in_(state.sources)
        if not (await connection.execute(update(builds).where(*legal).values(state=state.value, **values))).rowcount:
            raise Conflict(f"Build {build_id} cannot become {state}.")
        await self._tell_forge(connection, build_id)

    async def split(
        self, connection: AsyncConnection, row: Row[Any], parts: Sequence[Part], **values: object
    ) -> list[int]:
        """Make the build that of the first part, and queue one for each of the others: those. Raises Invalid."""
        first, *others = zip(parts, await repositories(connection, row, parts), strict=True)
        named = {"recipe": first[0].name, "image": first[1], **values}
        await connection.execute(update(builds).where(builds.c.id == row.id).values(**named))
        if row.image not in (first[1], *(image for _, image in others)):
            await self._outbox.add(connection, events.STATUSES, events.StatusDue(row.id, row.image))
        added = [new for part, image in others if (new := await add_beside(connection, row, part, image))]
        for build_id in added:
            await self._tell_forge(connection, build_id)
        await self.again(connection, row.id, TryAgain(0.0))
        return added

    async def end(self, connection: AsyncConnection, build_id: int, state: BuildState, **values: object) -> None:
        """Write the end of a build, and queue the report of it for those whom it concerns: nobody, if it verifies."""
        ended = {"finished_at": datetime.now(UTC), "lease_until": None, **values}
        await self._move(connection, build_id, state, ended)
        row = (await connection.execute(select(builds).where(builds.c.id == build_id))).one()
        if row.verifies and state is not BuildState.SUCCEEDED:
            await gave_nothing(connection, row)
        elif not row.verifies and state in (BuildState.SUCCEEDED, BuildState.FAILED):
            report = events.BuildReport(build_from_row(row), self._links.registry, self._links.build(build_id))
            await self._outbox.add(connection, events.NOTIFY, report)
        await self.dispatch.give(connection)

    async def cancel(self, build_id: int) -> Build:
        """Cancel a build: at once if it waits, by a word to its worker if it runs. Raises NotFound, Conflict."""
        build = await self.get(build_id)
        async with self._database.write() as connection:
            row = (await connection.execute(select(builds).where(builds.c.id == build_id))).one()
            if BuildState(row.state).final:
                raise Conflict(f"Build {build_id} has ended already: {row.state}.")
            await self._cancel(connection, row, "")
        return await self.get(build.id)

    async def _cancel(self, connection: AsyncConnection, row: Row[Any], why: str) -> None:
        if row.state == BuildState.QUEUED.value:
            await self.end(connection, row.id, BuildState.CANCELLED, error=why or "Cancelled before it began.")
            return
        values = {"cancel_requested": True, "hint": why}
        await connection.execute(update(builds).where(builds.c.id == row.id).values(**values))
        stop = events.CancelBuild(row.id, row.attempt, row.claim)
        await self._outbox.add(connection, events.worker_topic(row.worker), stop)

    async def restart(self, build_id: int, trigger: Trigger = Trigger.MANUAL, cause: str = "") -> Build:
        """Build the same commit again as a new attempt. Raises NotFound, Conflict (it has not ended)."""
        if (build := await self.get(build_id)).verifies:
            hint = f"`lumper build verify {build.verifies}` builds it once more."
            raise Conflict(f"Build {build_id} only verifies build {build.verifies}.", hint=hint)
        async with self._database.write() as connection:
            if not await self.restarted(connection, build_id, trigger, cause):
                raise Conflict(f"Build {build_id} has not ended.", hint=f"`lumper cancel {build_id}` ends it.")
        return await self.get(build_id)

    async def restarted(self, connection: AsyncConnection, build_id: int, trigger: Trigger, cause: str) -> bool:
        """In the caller's transaction: build it again, if it has ended; whether it had."""
        fresh = {
            "failures": 0,
            "lost": 0,
            "cancel_requested": False,
            "error": "",
            "hint": "",
            "finished_at": None,
            "log_size": 0,
            "attested": "",
        }
        ended = builds.c.state.in_(ENDED)
        now = datetime.now(UTC)
        values = {"stages": {}, "trigger": trigger.value, "cause": cause, "created_at": now, **fresh}
        changed = await connection.execute(update(builds).where(builds.c.id == build_id, ended).values(**values))
        if changed.rowcount:
            await self.again(connection, build_id, TryAgain(0.0))
        return changed.rowcount > 0

    async def all_restarted(self, connection: AsyncConnection, build_id: int, trigger: Trigger, cause: str) -> None:
        """In the caller's transaction: build all images of the same push again, those that have ended."""
        for row in await siblings(connection, build_id):
            await self.restarted(connection, row.id, trigger, cause)

    async def images(self) -> list[str]:
        """Every repository that something was built for."""
        async with self._database.read() as connection:
            return list((await connection.execute(select(builds.c.image).distinct())).scalars())

    async def of_push(self, build_id: int) -> list[Build]:
        """The builds of all images of the push that this is a build of."""
        async with self._database.read() as connection:
            return [build_from_row(row) for row in await siblings(connection, build_id)]

    async def row(self, connection: AsyncConnection, build_id: int) -> Row[Any] | None:
        """The build inside the caller's transaction."""
        return (await connection.execute(select(builds).where(builds.c.id == build_id))).first()


def _is(event: events.AttemptStarted) -> Any:
    return builds.c.id == event.build_id


def _held(build_id: int, attempt: int, claim: str) -> tuple[Any, ...]:
    return (
        builds.c.id == build_id,
        builds.c.attempt == attempt,
        builds.c.claim == claim,
        builds.c.state == BuildState.RUNNING.value,
    )


def _lease() -> datetime:
    return datetime.now(UTC) + timedelta(seconds=LEASE_SECONDS)
