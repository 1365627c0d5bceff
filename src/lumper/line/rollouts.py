"""Rollouts, services and what the hosts were last seen to run."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import Row, delete, select, update

from lumper.errors import NotFound
from lumper.line.builds.builds import build_from_row
from lumper.line.outbox import Outbox
from lumper.model import events
from lumper.model.builds.build import Build
from lumper.model.deployment import Container, Release, Rollout, RolloutState, Service
from lumper.model.links import Links
from lumper.store.connection import AsyncConnection
from lumper.store.database import Database
from lumper.store.tables import builds, hosts, rollouts, services

_RELEASE: TypeAdapter[Release] = TypeAdapter(Release)
_CONTAINERS: TypeAdapter[tuple[Container, ...]] = TypeAdapter(tuple[Container, ...])


def rollout_from_row(row: Row[Any]) -> Rollout:
    """A row of `rollouts` as a value."""
    return Rollout(
        id=row.id,
        service=row.service,
        digest=row.digest,
        generation=row.generation,
        version=row.version,
        state=RolloutState(row.state),
        created_at=row.created_at,
        finished_at=row.finished_at,
        build_id=row.build_id,
        error=row.error,
        journal=tuple(row.journal),
    )


class RolloutHistory:
    """The tables of services, rollouts and hosts."""

    def __init__(self, database: Database, outbox: Outbox, links: Links) -> None:
        self._database = database
        self._outbox = outbox
        self._links = links

    async def owner(self, connection: AsyncConnection, service: str) -> str | None:
        """The id of the project that a service belongs to, or None if nobody has it."""
        query = select(services.c.project_id).where(services.c.name == service)
        owner: str | None = (await connection.execute(query)).scalar()
        return owner

    async def queue(
        self,
        connection: AsyncConnection,
        service: Service,
        *,
        project_id: str,
        build: Build,
    ) -> int:
        """Make the next release of the service from a succeeded build and queue its rollout; the rollout's id."""
        known = (await connection.execute(select(services).where(services.c.name == service.name))).first()
        generation = known.generation + 1 if known else 1
        if known:
            await connection.execute(
                update(services)
                .where(services.c.name == service.name)
                .values(generation=generation, project_id=project_id)
            )
        else:
            await connection.execute(
                services.insert().values(name=service.name, project_id=project_id, generation=generation)
            )
        image = f"{self._links.deploy_registry}/{build.image}"
        release = Release(service, image, build.digest, generation, build.tag, build.id)
        result = await connection.execute(
            rollouts.insert()
            .values(
                service=service.name,
                build_id=build.id,
                release=_RELEASE.dump_python(release, mode="json"),
                digest=build.digest,
                generation=generation,
                version=build.tag,
                state=RolloutState.QUEUED.value,
                created_at=datetime.now(UTC),
            )
            .returning(rollouts.c.id)
        )
        rollout_id = int(result.scalar_one())
        await self._outbox.add(connection, events.DEPLOY, events.RolloutJob(rollout_id, release))
        return rollout_id

    async def progress(self, event: events.RolloutProgress) -> None:
        """Write what the deployer says; at the rollout's end, queue the report of it."""
        async with self._database.write() as connection:
            rollout = await self._write(connection, event)
            if rollout is None:
                return
            row = (await connection.execute(select(builds).where(builds.c.id == rollout.build_id))).first()
            report = events.RolloutReport(
                rollout_id=rollout.id,
                service=rollout.service,
                version=rollout.version,
                digest=rollout.digest,
                state=rollout.state,
                journal=rollout.journal,
                error=event.error,
                hint=event.hint,
                page=self._links.services,
                build=build_from_row(row) if row else None,
                finished_at=event.at,
            )
            await self._outbox.add(connection, events.NOTIFY, report)

    async def _write(self, connection: AsyncConnection, event: events.RolloutProgress) -> Rollout | None:
        row = (await connection.execute(select(rollouts).where(rollouts.c.id == event.rollout_id))).first()
        if row is None or RolloutState(row.state) in (RolloutState.SUCCEEDED, RolloutState.FAILED):
            return None
        ended = event.state in (RolloutState.SUCCEEDED, RolloutState.FAILED)
        end = event.position + len(event.lines)
        repeated = bool(event.lines) and row.journal[event.position : end] == list(event.lines)
        values = {
            "state": event.state.value,
            "journal": row.journal if repeated else [*row.journal[: event.position], *event.lines],
            "error": event.error,
            "hint": event.hint,
            "finished_at": event.at if ended else None,
        }
        await connection.execute(update(rollouts).where(rollouts.c.id == row.id).values(**values))
        changed = (await connection.execute(select(rollouts).where(rollouts.c.id == row.id))).one()
        return rollout_from_row(changed) if ended else None

    async def newest(self, *, service: str = "", limit: int = 100) -> list[Rollout]:
        """The newest rollouts first."""
        query = select(rollouts).order_by(rollouts.c.id.desc()).limit(limit)
        if service:
            query = query.where(rollouts.c.service == service)
        async with self._database.read() as connection:
            return [rollout_from_row(row) for row in await connection.execute(query)]

    async def get(self, rollout_id: int) -> Rollout:
        """One rollout. Raises NotFound."""
        async with self._database.read() as connection:
            row = (await connection.execute(select(rollouts).where(rollouts.c.id == rollout_id))).first()
        if row is None:
            raise NotFound(f"There is no rollout {rollout_id}.")
        return rollout_from_row(row)

    async def of_build(self, build_id: int) -> Rollout | None:
        """The newest rollout that a build caused, or None."""
        query = select(rollouts).where(rollouts.c.build_id == build_id).order_by(rollouts.c.id.desc()).limit(1)
        async with self._database.read() as connection:
            row = (await connection.execute(query)).first()
        return rollout_from_row(row) if row else None

    async def observed(self, event: events.HostObserved) -> None:
        """Keep what a host was seen to run, unless something later is known."""
        values = {"observed_at": event.at, "containers": _CONTAINERS.dump_python(event.containers, mode="json")}
        async with self._database.write() as connection:
            await connection.execute(delete(hosts).where(hosts.c.name == event.host, hosts.c.observed_at <= event.at))
            known = (await connection.execute(select(hosts.c.name).where(hosts.c.name == event.host))).first()
            if known is None:
                await connection.execute(hosts.insert().values(name=event.host, **values))

    async def containers(self) -> list[Container]:
        """Every container of Lumper's on every host, as last seen."""
        async with self._database.read() as connection:
            rows = (await connection.execute(select(hosts.c.containers).order_by(hosts.c.name))).scalars().all()
        return [container for row in rows for container in _CONTAINERS.validate_python(row)]
