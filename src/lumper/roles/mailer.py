"""The mailer: from a report in the queue to a message in a channel. It has no database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing

from lumper.errors import MessageRefused, NotFound
from lumper.logs import get_logger
from lumper.model import events
from lumper.model.builds.build import Build
from lumper.model.source import Person
from lumper.notify.message import message_for
from lumper.notify.port import Channel
from lumper.notify.recipients import recipients
from lumper.notify.told_log import ToldLog
from lumper.queue.port import Broker
from lumper.queue.retry import RetryPolicy
from lumper.roles.base import consume

log = get_logger(__name__)

ReadLog = Callable[[int, int], AsyncGenerator[bytes]]
"""From a build's id and attempt to the pieces of its log, as model/builds/log.py writes it. Raises NotFound."""

# Over two days: a mail server that is away for a weekend loses nothing.
_PATIENCE = RetryPolicy(attempts=60, first=1.0, factor=3.0, longest=3600.0)


class Mailer:
    """Sends every report to those whom it concerns. What `channel` refuses for good goes to `fallback`."""

    def __init__(
        self,
        broker: Broker,
        channel: Channel,
        fallback: Channel,
        read_log: ReadLog,
        *,
        people: Mapping[str, str],
        admin: str,
    ) -> None:
        self._broker = broker
        self._channel = channel
        self._fallback = fallback
        self._read_log = read_log
        self._people = people
        self._admin = admin

    async def run(self) -> None:
        """Mail until cancelled."""
        await consume(self._broker, events.NOTIFY, self._handle, _PATIENCE)

    async def _handle(self, payload: events.Payload) -> None:
        if not isinstance(payload, events.BuildReport | events.RolloutReport):
            log.error("not a report", action="mail.unknown", kind=type(payload).__name__)
            return
        build = payload.build
        to = recipients(
            pusher=build.pusher if build else Person(),
            author=build.author if build else Person(),
            people=self._people,
            admin=self._admin,
        )
        told = await self._log_of(build) if build and build.log_size else ToldLog()
        message = await asyncio.to_thread(message_for, payload, to=to, told=told)
        try:
            await (self._channel if to else self._fallback).send(message)
            log.info("a mail was sent", action="mail.sent", subject=message.subject, to=list(message.to))
        except MessageRefused as exc:
            log.error("a mail was refused", action="mail.refused", subject=message.subject, error=exc.sentence)
            await self._fallback.send(message)

    async def _log_of(self, build: Build) -> ToldLog:
        """The log as a mail has it, in flat memory."""
        told = ToldLog()
        try:
            async with aclosing(self._read_log(build.id, build.attempt)) as pieces:
                async for piece in pieces:
                    await asyncio.to_thread(told.feed, piece)
        except NotFound:  # its project was removed since
            return ToldLog()
        await asyncio.to_thread(told.end)
        return told
