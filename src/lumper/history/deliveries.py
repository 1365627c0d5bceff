"""Deliveries: every signed webhook request, raw, with its verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from lumper.history.database import Database
from lumper.history.tables import deliveries, projects
from lumper.model.source import Verdict


@dataclass(frozen=True)
class StoredDelivery:
    """A delivery as a listing shows it."""

    id: int
    project: str
    forge: str
    delivery_id: str
    event: str
    received_at: datetime
    verdict: Verdict
    reason: str


class DeliveryHistory:
    """The table of deliveries."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def known(self, connection: AsyncConnection, project_id: str, forge: str, delivery_id: str) -> bool:
        """Whether this delivery was stored before."""
        query = select(deliveries.c.id).where(
            deliveries.c.project_id == project_id,
            deliveries.c.forge == forge,
            deliveries.c.delivery_id == delivery_id,
        )
        return (await connection.execute(query)).first() is not None

    async def add(
        self,
        connection: AsyncConnection,
        *,
        project_id: str,
        forge: str,
        delivery_id: str,
        event: str,
        headers: Mapping[str, str],
        body: bytes,
        verdict: Verdict,
        reason: str,
    ) -> None:
        """Keep a delivery, raw, in the caller's transaction."""
        await connection.execute(
            deliveries.insert().values(
                project_id=project_id,
                forge=forge,
                delivery_id=delivery_id,
                event=event,
                headers=dict(headers),
                body=body,
                received_at=datetime.now(UTC),
                verdict=verdict.value,
                reason=reason,
            )
        )

    async def newest(self, limit: int = 100, *, project_id: str = "") -> list[StoredDelivery]:
        """The newest deliveries first, to one project or to all."""
        query = (
            select(
                deliveries.c.id,
                projects.c.name,
                deliveries.c.forge,
                deliveries.c.delivery_id,
                deliveries.c.event,
                deliveries.c.received_at,
                deliveries.c.verdict,
                deliveries.c.reason,
            )
            .join(projects)
            .order_by(deliveries.c.id.desc())
            .limit(limit)
        )
        if project_id:
            query = query.where(deliveries.c.project_id == project_id)
        async with self._database.read() as connection:
            return [StoredDelivery(*row[:6], Verdict(row[6]), row[7]) for row in await connection.execute(query)]
