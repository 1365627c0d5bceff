"""Webhooks and the calls to them.

Rows of the activity log become calls: one row for each webhook that wants to hear of it, which waits, is delivered or
dead. A webhook remembers up to which row all calls are made: none comes before it later, since whoever writes one has
the lock of all that write until it is committed. A call that is there is not made again, should two processes do so.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Row, delete, func, insert, select, update

from lumper.accounts.activity import activity_from_row
from lumper.errors import NotFound
from lumper.model.images.activity import Activity, Actor, AuditAction
from lumper.model.images.webhook import Call, CallState, Format, Webhook, event_of, ping_of
from lumper.registry.catalog.images import ImageHistory
from lumper.store.connection import AsyncConnection
from lumper.store.database import Database, changed
from lumper.store.sealing import Sealer
from lumper.store.tables import activity, webhook_calls, webhooks

_TOPIC = "webhooks"
_STEP = 200  # rows that become calls in one transaction
_KEPT = timedelta(days=7)  # calls that were delivered
_HERE = webhook_calls.c


class Webhooks:
    """The tables of webhooks and calls. The secrets that sign the calls lie sealed in them."""

    def __init__(self, database: Database, images: ImageHistory, sealer: Sealer) -> None:
        self._database = database
        self._sealer = sealer
        self._images = images
        self._wake = asyncio.Event()
        database.on_change(_TOPIC, lambda _key: self._wake.set())

    async def add(
        self, url: str, secret: str, actions: Sequence[AuditAction], repositories: str, form: Format, *, private: bool
    ) -> Webhook:
        """Make a webhook, which hears of what happens from now on. Raises StorageError."""
        now = datetime.now(UTC)
        async with self._database.write() as connection:
            seen = (await connection.execute(select(func.coalesce(func.max(activity.c.id), 0)))).scalar_one()
            values = {
                "url": url, "sealed_secret": self._sealer.seal_text(secret, _about(url)),
                "actions": list(actions), "repositories": repositories,
                "format": form.value, "private": private, "created_at": now, "begins_after": seen, "seen": seen,
            }  # fmt: skip
            made = await connection.execute(insert(webhooks).values(values).returning(webhooks.c.id))
            number = made.scalar_one()
            changed(connection, _TOPIC, str(number))
        return Webhook(number, url, tuple(actions), repositories, form, private, now)

    async def secret(self, webhook: Webhook) -> str:
        """What signs the calls to a webhook. Raises NotFound, StorageError."""
        query = select(webhooks.c.sealed_secret).where(webhooks.c.id == webhook.id)
        async with self._database.read() as connection:
            sealed = (await connection.execute(query)).scalar()
        if sealed is None:
            raise _missing(webhook.id)
        return self._sealer.open_text(sealed, _about(webhook.url))

    async def all(self) -> list[Webhook]:
        """All webhooks in the order in which they were added."""
        async with self._database.read() as connection:
            found = await connection.execute(select(webhooks).order_by(webhooks.c.id))
            return [webhook_from_row(row) for row in found]

    async def remove(self, number: int) -> None:
        """Remove a webhook with its calls. Raises NotFound."""
        async with self._database.write() as connection:
            done = await connection.execute(delete(webhooks).where(webhooks.c.id == number))
            if done.rowcount == 0:
                raise _missing(number)
            changed(connection, _TOPIC, str(number))

    async def ping(self, number: int, actor: Actor) -> None:
        """Put a call that tells of nothing in the row of the others. Raises NotFound."""
        now = datetime.now(UTC)
        async with self._database.write() as connection:
            await _check(connection, number)
            event = ping_of(f"ping-{uuid.uuid4().hex}", now, actor)
            await connection.execute(insert(webhook_calls).values(_row(number, None, event, now)))
            changed(connection, _TOPIC, str(number))

    async def calls(self, number: int, *, state: CallState | None = None, limit: int = 100) -> list[Call]:
        """The newest calls of a webhook first. Raises NotFound."""
        query = select(webhook_calls).where(_HERE.webhook_id == number).order_by(_HERE.id.desc()).limit(limit)
        if state is not None:
            query = query.where(_HERE.state == state.value)
        async with self._database.read() as connection:
            await _check(connection, number)
            return [call_from_row(row) for row in await connection.execute(query)]

    async def revive(self, number: int) -> int:
        """Let the dead calls of a webhook wait again; how many. Raises NotFound."""
        values = {"state": CallState.WAITING.value, "tries": 0, "next_at": datetime.now(UTC)}
        dead = (_HERE.webhook_id == number) & (_HERE.state == CallState.DEAD.value)
        async with self._database.write() as connection:
            await _check(connection, number)
            done = await connection.execute(update(webhook_calls).where(dead).values(values))
            changed(connection, _TOPIC, str(number))
        return done.rowcount

    async def counts(self) -> dict[CallState, int]:
        """How many calls there are in each state."""
        query = select(_HERE.state, func.count()).group_by(_HERE.state)
        async with self._database.read() as connection:
            found = {CallState(state): int(count) for state, count in await connection.execute(query)}
        return {state: found.get(state, 0) for state in CallState}

    async def spread(self) -> None:
        """Make the calls of what has happened since the last time."""
        while await self._spread():
            pass

    async def _spread(self) -> bool:
        async with self._database.read() as connection:
            seen = (await connection.execute(select(func.min(webhooks.c.seen)))).scalar()
            if seen is None:
                return False
            query = select(activity).where(activity.c.id > seen).order_by(activity.c.id).limit(_STEP)
            rows = [activity_from_row(row) for row in await connection.execute(query)]
        if not rows:
            return False
        events, last = {one.id: await self._event(one) for one in rows}, rows[-1].id
        async with self._database.write() as connection:
            await _make_calls(connection, rows, events)
            await connection.execute(update(webhooks).where(webhooks.c.seen < last).values(seen=last))
        return len(rows) == _STEP

    async def _event(self, one: Activity) -> dict[str, Any]:
        found = await self._images.manifest(one.repository, one.digest) if one.digest else None
        return event_of(one, found.media_type, found.size) if found else event_of(one)

    async def due(self, number: int, limit: int) -> list[Call]:
        """The calls of a webhook whose time has come: of each repository only the oldest that waits."""
        waiting = (_HERE.state == CallState.WAITING.value) & (_HERE.webhook_id == number)
        oldest = select(func.min(_HERE.id)).where(waiting).group_by(_HERE.repository)
        query = select(webhook_calls).where(_HERE.id.in_(oldest), _HERE.next_at <= datetime.now(UTC))
        async with self._database.read() as connection:
            found = await connection.execute(query.order_by(_HERE.id).limit(limit))
            return [call_from_row(row) for row in found]

    async def delivered(self, call: Call) -> None:
        """The receiver has taken it."""
        await self._ended(call, state=CallState.DELIVERED.value, error="")

    async def failed(self, call: Call, error: str, delay: float | None) -> None:
        """The receiver has not; the next try comes after `delay` seconds, or never with None."""
        if delay is None:
            await self._ended(call, state=CallState.DEAD.value, error=error, tries=call.tries + 1)
        else:
            next_at = datetime.now(UTC) + timedelta(seconds=delay)
            await self._ended(call, error=error, tries=call.tries + 1, next_at=next_at)

    async def _ended(self, call: Call, **values: object) -> None:
        async with self._database.write() as connection:
            await connection.execute(update(webhook_calls).where(_HERE.id == call.id).values(values))

    async def forget_delivered(self) -> None:
        """Forget what was delivered a week ago."""
        old = (_HERE.state == CallState.DELIVERED.value) & (_HERE.created_at < datetime.now(UTC) - _KEPT)
        async with self._database.write() as connection:
            await connection.execute(delete(webhook_calls).where(old))

    def wake(self) -> None:
        """End `wait`."""
        self._wake.set()

    async def wait(self, longest: float) -> None:
        """Until a webhook was added, removed, pinged or revived in this process, or `longest` seconds have passed."""
        try:
            async with asyncio.timeout(longest):
                await self._wake.wait()
        except TimeoutError:
            pass
        self._wake.clear()


async def _make_calls(connection: AsyncConnection, rows: Sequence[Activity], events: dict[int, dict[str, Any]]) -> None:
    now = datetime.now(UTC)
    found = await connection.execute(select(webhooks).order_by(webhooks.c.id))
    listening = [(webhook_from_row(row), row.begins_after) for row in found]
    made = select(_HERE.webhook_id, _HERE.activity_id).where(_HERE.activity_id.in_([one.id for one in rows]))
    there = {tuple(row) for row in await connection.execute(made)}
    new = [
        _row(webhook.id, one.id, events[one.id], now)
        for one in rows
        for webhook, begin in listening
        if one.id > begin and webhook.wants(one) and (webhook.id, one.id) not in there
    ]
    if new:
        await connection.execute(insert(webhook_calls), new)


def _row(webhook_id: int, activity_id: int | None, event: dict[str, Any], now: datetime) -> dict[str, object]:
    return {
        "webhook_id": webhook_id,
        "activity_id": activity_id,
        "repository": event["repository"],
        "event": event,
        "state": CallState.WAITING.value,
        "tries": 0,
        "next_at": now,
        "error": "",
        "created_at": now,
    }


async def _check(connection: AsyncConnection, number: int) -> None:
    if (await connection.execute(select(webhooks.c.id).where(webhooks.c.id == number))).first() is None:
        raise _missing(number)


def _about(url: str) -> str:
    return json.dumps(["webhook", url])


def _missing(number: int) -> NotFound:
    return NotFound(f"There is no webhook {number}.", hint="`lumper registry webhooks list` shows all.")


def webhook_from_row(row: Row[Any]) -> Webhook:
    """A row of `webhooks` as a value."""
    actions = tuple(AuditAction(action) for action in row.actions)
    form = Format(row.format)
    return Webhook(row.id, row.url, actions, row.repositories, form, row.private, row.created_at)


def call_from_row(row: Row[Any]) -> Call:
    """A row of `webhook_calls` as a value."""
    state = CallState(row.state)
    return Call(row.id, row.webhook_id, row.event, state, row.tries, row.next_at, row.error, row.created_at)
