"""Messages on their way to the queue: written in the transaction that causes them, published by the relay."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, select

from lumper.history.connection import AsyncConnection
from lumper.history.database import Database, changed
from lumper.history.tables import outbox
from lumper.model.events import Payload

_TOPIC = "outbox"
DEAF_SECONDS = 1.0


@dataclass(frozen=True)
class Pending:
    """A message that is committed and not yet published. `message_id` stays the same if it is published twice."""

    id: int
    message_id: str
    topic: str
    body: bytes


class Outbox:
    """The table of pending messages. `encode` turns a payload into a message body.

    `deaf` are the seconds between two looks while nobody tells what other processes commit.
    """

    def __init__(self, database: Database, encode: Callable[[Payload], bytes], *, deaf: float = DEAF_SECONDS) -> None:
        self._deaf = deaf
        self._database = database
        self._encode = encode
        self._wake = asyncio.Event()
        database.on_change(_TOPIC, lambda _topic: self._wake.set())

    async def add(self, connection: AsyncConnection, topic: str, payload: Payload, *, delay: float = 0.0) -> None:
        """Put a message into the caller's transaction; it is published `delay` seconds after that at the earliest."""
        await connection.execute(
            outbox.insert().values(
                message_id=uuid.uuid4().hex,
                topic=topic,
                body=self._encode(payload),
                not_before=datetime.now(UTC) + timedelta(seconds=delay),
            )
        )
        changed(connection, _TOPIC, topic)

    async def due(self, limit: int = 100) -> list[Pending]:
        """The messages whose time has come, in the order in which they were added."""
        query = (
            select(outbox.c.id, outbox.c.message_id, outbox.c.topic, outbox.c.body)
            .where(outbox.c.not_before <= datetime.now(UTC))
            .order_by(outbox.c.id)
            .limit(limit)
        )
        async with self._database.read() as connection:
            return [Pending(*row) for row in await connection.execute(query)]

    async def forget(self, ids: Sequence[int]) -> None:
        """Remove messages that the broker has confirmed."""
        async with self._database.write() as connection:
            await connection.execute(delete(outbox).where(outbox.c.id.in_(ids)))

    async def wait(self, longest: float) -> None:
        """Until a message was committed, its time has come, or `longest` seconds have passed: sooner if it is deaf."""
        query = select(outbox.c.not_before).order_by(outbox.c.not_before).limit(1)
        async with self._database.read() as connection:
            first = (await connection.execute(query)).scalar()
        longest = longest if self._database.hears else min(longest, self._deaf)
        seconds = longest if first is None else (first - datetime.now(UTC)).total_seconds()
        try:
            async with asyncio.timeout(max(0.0, min(longest, seconds))):
                await self._wake.wait()
        except TimeoutError:
            pass
        self._wake.clear()
