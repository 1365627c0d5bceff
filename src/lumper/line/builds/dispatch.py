"""Workers as they told of themselves, and handing builds to them: in the transaction that frees a place or needs one.

A build that was handed to a worker is still `queued`, but has its `worker`, and a lease until which that has to begin.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from typing import Any

from sqlalchemy import Row, func, select, update

from lumper.line.outbox import Outbox
from lumper.model import events
from lumper.model.builds.build import Base, BuildState
from lumper.model.builds.lease import LEASE_SECONDS
from lumper.model.builds.scheduling import LEAST_COST, Capacity, Given, Plan, Share, Wait, Waiting, plan
from lumper.model.images.image import private_tag
from lumper.model.trigger import Trigger, rules_from_json
from lumper.store.connection import AsyncConnection
from lumper.store.database import Database, upsert
from lumper.store.tables import builds, projects, workers

_LATELY = timedelta(hours=1)  # whose use of workers counts
_MOST_RECENT = 500
_QUEUED, _RUNNING = BuildState.QUEUED.value, BuildState.RUNNING.value
_BUSY = ((builds.c.state == _QUEUED) & (builds.c.worker != "")) | (builds.c.state == _RUNNING)
_VERIFIED = builds.alias("verified")
_UNGIVEN = (builds.c.state == _QUEUED) & (builds.c.worker == "")


@dataclass(frozen=True)
class KnownWorker:
    """A worker, how many builds it takes at a time, and how many of them it has."""

    name: str
    slots: int
    busy: int
    labels: tuple[str, ...]
    seen_at: datetime
    online: bool


class Dispatch:
    """Hands builds to workers, in the order of model/builds/scheduling.py."""

    def __init__(self, database: Database, outbox: Outbox) -> None:
        self._database = database
        self._outbox = outbox

    async def online(self, connection: AsyncConnection, event: events.WorkerOnline) -> bool:
        """A worker began or ends; whether that is news, and not older than what is known."""
        query = select(workers.c.boot, workers.c.since).where(workers.c.name == event.worker)
        known = (await connection.execute(query)).first()
        if known is not None and event.at is not None and event.at < known.since:
            return False
        since = event.at or datetime.now(UTC)
        await self._write(connection, event.worker, event.boot, event.slots, event.labels, since)
        return True

    async def seen(self, connection: AsyncConnection, event: events.Heartbeat) -> None:
        """A worker lives."""
        seen = update(workers).where(workers.c.name == event.worker, workers.c.boot == event.boot)
        found = await connection.execute(seen.values(seen_at=datetime.now(UTC)))
        unknown = select(workers.c.name).where(workers.c.name == event.worker)
        if not found.rowcount and event.boot and (await connection.execute(unknown)).first() is None:
            await self._write(connection, event.worker, event.boot, event.slots, event.labels, datetime.now(UTC))
        await self.give(connection)

    async def _write(
        self, connection: AsyncConnection, name: str, boot: str, slots: int, labels: Sequence[str], since: datetime
    ) -> None:
        now = datetime.now(UTC)
        row = {"name": name, "boot": boot, "slots": slots, "labels": list(labels), "since": since, "seen_at": now}
        await connection.execute(upsert(connection, workers, "name"), row)

    async def outlived(self, connection: AsyncConnection, event: events.AttemptStarted) -> bool:
        """Whether the worker has begun anew since it said this, so that nobody carries the attempt out."""
        query = select(workers.c.name).where(
            workers.c.name == event.worker, workers.c.boot != event.boot, workers.c.since > event.at
        )
        return (await connection.execute(query)).first() is not None

    async def give(self, connection: AsyncConnection) -> None:
        """Hand waiting builds to workers with a free place. To be called after whatever may let one begin."""
        if (await connection.execute(select(builds.c.id).where(_UNGIVEN).limit(1))).first() is None:
            return
        capacities = await _capacities(connection)
        if any(worker.free > 0 for worker in capacities):
            for given in (await _plan(connection, capacities)).given:
                await self._hand(connection, given)

    async def tick(self) -> None:
        """Hand out what only time has kept waiting. Raises StorageError."""
        query = select(builds.c.id).where(_UNGIVEN, builds.c.due_at <= datetime.now(UTC)).limit(1)
        async with self._database.read() as connection:
            if (await connection.execute(query)).first() is None:
                return
            capacities = await _capacities(connection)
            if not (await _plan(connection, capacities)).given:
                return
        async with self._database.write() as connection:
            await self.give(connection)

    async def waits(self) -> dict[int, Wait]:
        """Why each waiting build waits, in their order. Raises StorageError."""
        async with self._database.read() as connection:
            if (await connection.execute(select(builds.c.id).where(_UNGIVEN).limit(1))).first() is None:
                return {}
            found = (await _plan(connection, await _capacities(connection))).waits
        return {wait.build: wait for wait in found}

    async def workers(self) -> list[KnownWorker]:
        """All workers that were heard of within a day. Raises StorageError."""
        day = datetime.now(UTC) - timedelta(days=1)
        async with self._database.read() as connection:
            busy = await _busy(connection)
            rows = await connection.execute(select(workers).where(workers.c.seen_at > day).order_by(workers.c.name))
            return [
                KnownWorker(row.name, row.slots, busy.get(row.name, 0), tuple(row.labels), row.seen_at, _lives(row))
                for row in rows
            ]

    async def _hand(self, connection: AsyncConnection, given: Given) -> None:
        lease = datetime.now(UTC) + timedelta(seconds=LEASE_SECONDS)
        handing = update(builds).where(builds.c.id == given.build).values(worker=given.worker, lease_until=lease)
        await connection.execute(handing)
        query = select(builds, projects.c.url, projects.c.local).join(projects).where(builds.c.id == given.build)
        job = job_from_row((await connection.execute(query)).one())
        await self._outbox.add(connection, events.jobs_topic(given.worker), job)


def job_from_row(row: Row[Any]) -> events.BuildJob:
    """What a worker is told of a row of `builds` with its project's `url` and `local`."""
    return events.BuildJob(
        build_id=row.id,
        attempt=row.attempt,
        project_id=row.project_id,
        project=row.project,
        url=row.url,
        local=row.local,
        ref=row.ref,
        commit=row.told_commit,
        image=row.image,
        push_tag=private_tag(row.id, row.attempt),
        trigger=row.trigger,
        before=row.before,
        recipe=row.recipe,
        verifies=row.verifies,
        bases=tuple(Base(**base) for base in row.bases) if row.verifies else (),
    )


def _lives(row: Row[Any]) -> bool:
    seen_at: datetime = row.seen_at
    return bool(row.slots) and seen_at > datetime.now(UTC) - timedelta(seconds=LEASE_SECONDS)


async def _busy(connection: AsyncConnection) -> dict[str, int]:
    query = select(builds.c.worker, func.count()).where(_BUSY).group_by(builds.c.worker)
    return {name: int(count) for name, count in await connection.execute(query)}


async def _capacities(connection: AsyncConnection) -> list[Capacity]:
    busy = await _busy(connection)
    rows = [row for row in await connection.execute(select(workers)) if _lives(row)]
    return [Capacity(row.name, row.slots - busy.get(row.name, 0), frozenset(row.labels)) for row in rows]


async def _plan(connection: AsyncConnection, capacities: Sequence[Capacity]) -> Plan:
    now = datetime.now(UTC)
    columns = (builds.c.id, builds.c.project_id, builds.c.due_at, builds.c.trigger, _VERIFIED.c.worker)
    query = select(*columns).outerjoin(_VERIFIED, builds.c.verifies == _VERIFIED.c.id).where(_UNGIVEN)
    rows = await connection.execute(query)
    waiting = [Waiting(row[0], row[1], row[2], Trigger(row[3]), row[4] or "") for row in rows]
    recent = await _recent(connection, now) if len(waiting) > 1 else []
    oldest = min((build.due for build in waiting), default=now)
    overtaken = sum(1 for _ in takewhile(lambda row: row.due_at > oldest, recent))
    shares = await _shares(connection, sorted({build.project for build in waiting}), recent, now)
    return plan(now, waiting, shares, capacities, overtaken)


async def _recent(connection: AsyncConnection, now: datetime) -> list[Row[Any]]:
    """The builds that began of late, the last one first."""
    columns = (builds.c.project_id, builds.c.started_at, builds.c.finished_at, builds.c.due_at)
    query = select(*columns).where(builds.c.started_at > now - _LATELY)
    return list(await connection.execute(query.order_by(builds.c.started_at.desc()).limit(_MOST_RECENT)))


async def _shares(
    connection: AsyncConnection, ids: Sequence[str], recent: Sequence[Row[Any]], now: datetime
) -> Mapping[str, Share]:
    counting = select(builds.c.project_id, func.count()).where(_BUSY).group_by(builds.c.project_id)
    running = {project: int(count) for project, count in await connection.execute(counting)}
    used: dict[str, float] = {}
    for row in recent:
        seconds = ((row.finished_at or now) - row.started_at).total_seconds()
        used[row.project_id] = used.get(row.project_id, 0.0) + max(LEAST_COST, seconds)
    shares = {}
    query = select(projects.c.id, projects.c.rules).where(projects.c.id.in_(ids))
    for project_id, stored in await connection.execute(query):
        rules = rules_from_json(stored)
        shares[project_id] = Share(
            weight=rules.weight,
            priority=rules.priority,
            most=rules.concurrency,
            labels=frozenset(rules.labels),
            used=used.get(project_id, 0.0),
            running=running.get(project_id, 0),
            last_worker=await _last_worker(connection, project_id),
        )
    return shares


async def _last_worker(connection: AsyncConnection, project_id: str) -> str:
    query = select(builds.c.worker).where(
        builds.c.project_id == project_id, builds.c.worker != "", builds.c.verifies == 0
    )
    return (await connection.execute(query.order_by(builds.c.id.desc()).limit(1))).scalar() or ""
