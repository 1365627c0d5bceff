"""Deliveries: every signed webhook request, raw, with its verdict."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, Select, func, select, update

from lumper.errors import NotFound
from lumper.model.source import Verdict
from lumper.store.connection import AsyncConnection
from lumper.store.database import Database
from lumper.store.tables import deliveries, projects


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
    replayed_at: datetime | None = None


@dataclass(frozen=True)
class RawDelivery(StoredDelivery):
    """A delivery as it came. Header names are lower case; those that hold a secret are left out."""

    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


class DeliveryHistory:
    """The table of deliveries."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def known(
        self, connection: AsyncConnection, project_id: str, forge: str, delivery_id: str, body: bytes = b""
    ) -> int | None:
        """As which delivery this one was stored first, if it came before and built: by its id, or its body if given.

        Most forges sign the body only, so that who has a delivery could send it again under another id. What built
        nothing is judged anew when somebody has it sent again: the rules may have changed.
        """
        same = (deliveries.c.forge == forge) & (deliveries.c.delivery_id == delivery_id)
        if body:
            same |= deliveries.c.digest == _digest(body)
        built = deliveries.c.verdict.in_([Verdict.BUILD.value, Verdict.DUPLICATE.value])
        query = select(func.min(deliveries.c.id)).where(deliveries.c.project_id == project_id, same, built)
        return (await connection.execute(query)).scalar()

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
                digest=_digest(body),
                received_at=datetime.now(UTC),
                verdict=verdict.value,
                reason=reason,
            )
        )

    async def judged_again(self, connection: AsyncConnection, delivery_id: int, verdict: Verdict, reason: str) -> None:
        """Keep the verdict of a replay, in the caller's transaction. Raises NotFound."""
        values = {"verdict": verdict.value, "reason": reason, "replayed_at": datetime.now(UTC)}
        query = update(deliveries).where(deliveries.c.id == delivery_id).values(**values)
        if (await connection.execute(query)).rowcount == 0:
            raise _unknown(delivery_id)

    async def empty(self, before: datetime) -> int:
        """Forget the headers and bodies of what came before that; how many.

        What is left tells that they came: a delivery that somebody sends again is still known.
        """
        query = update(deliveries).where(deliveries.c.received_at < before, deliveries.c.body != b"")
        async with self._database.write() as connection:
            return (await connection.execute(query.values(body=b"", headers={}))).rowcount

    async def newest(
        self, limit: int = 100, *, project_id: str = "", before: int | None = None
    ) -> list[StoredDelivery]:
        """The newest deliveries first, to one project or to all; `before` is the id of one to go on from."""
        query = _listed().order_by(deliveries.c.id.desc()).limit(limit)
        if project_id:
            query = query.where(deliveries.c.project_id == project_id)
        if before is not None:
            query = query.where(deliveries.c.id < before)
        async with self._database.read() as connection:
            return [StoredDelivery(**_listing(row)) for row in await connection.execute(query)]

    async def get(self, delivery_id: int) -> RawDelivery:
        """One delivery with its headers and its body. Raises NotFound."""
        query = _listed().add_columns(deliveries.c.headers, deliveries.c.body).where(deliveries.c.id == delivery_id)
        async with self._database.read() as connection:
            row = (await connection.execute(query)).first()
        if row is None:
            raise _unknown(delivery_id)
        return RawDelivery(**_listing(row), headers=row.headers, body=row.body)


def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def _unknown(delivery_id: int) -> NotFound:
    return NotFound(f"There is no delivery {delivery_id}.", hint="`lumper hooks list` shows the newest.")


def _listed() -> Select[Any]:
    table = deliveries.c
    return select(
        table.id,
        projects.c.name.label("project"),
        table.forge,
        table.delivery_id,
        table.event,
        table.received_at,
        table.verdict,
        table.reason,
        table.replayed_at,
    ).join(projects)


def _listing(row: Row[Any]) -> dict[str, Any]:
    names = (one.name for one in fields(StoredDelivery))
    return {**{name: getattr(row, name) for name in names}, "verdict": Verdict(row.verdict)}
