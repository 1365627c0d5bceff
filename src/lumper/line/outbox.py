"""Messages on their way to the queue: written in the transaction that causes them, published by the relay."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy import delete, select

from lumper.model.events import Payload
from lumper.store.connection import AsyncConnection
from lumper.store.database import Database, changed
from lumper.store.tables import outbox

_TOPIC = "outbox"
_DEAF_SECONDS = 1.0  # between two looks while nobody tells what other processes commit


@dataclass(frozen=True)
class Pending:
    """A message that is committed and not yet published. `message_id` stays the same if it is published twice."""

    id: int
    message_id: str
    topic: str
    body: bytes


class Outbox:
    """The table of pending messages. `encode` turns a payload into a message body."""

    def __init__(self, database: Database, encode: Callable[[Payload], bytes]) -> None:
        self._database = database
        self._encode = encode
        self._wake = asyncio.Event()
        database.on_change(_TOPIC, lambda _topic: self._wake.set())

    async def add(self, connection: AsyncConnection, topic: str, payload: Payload) -> None:
        """Put a message into the caller's transaction."""
        row = {"message_id": uuid.uuid4().hex, "topic": topic, "body": self._encode(payload)}
        await connection.execute(outbox.insert(), row)
        changed(connection, _TOPIC, topic)

    async def pending(self, limit: int = 100) -> list[Pending]:
        """The oldest messages, in the order in which they were added."""
        rows = await self._database.rows(select(outbox).order_by(outbox.c.id).limit(limit))
        return [Pending(row.id, row.message_id, row.topic, row.body) for row in rows]

    async def forget(self, ids: Sequence[int]) -> None:
        """Remove messages that the broker has confirmed."""
        async with self._database.write() as connection:
            await connection.execute(delete(outbox).where(outbox.c.id.in_(ids)))

    async def wait(self) -> None:
        """Until a message was committed since this ended the last time, or may have been."""
        with suppress(TimeoutError):
            async with asyncio.timeout(None if self._database.hears else _DEAF_SECONDS):
                await self._wake.wait()
        self._wake.clear()
