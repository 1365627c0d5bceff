"""The teller: from the activity log to other programs. A part of the server, since a registry alone has no mailer.

Nothing that happens in the registry waits for it: it reads what was committed. At least once, and for one webhook and
repository in order: the next event is sent when the one before was taken or given up. What it knows is in the
database, so a server that was killed goes on where it was; of several on one database, one tells.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from lumper.errors import ChannelUnavailable, LumperError
from lumper.logs import get_logger
from lumper.model.images.webhook import Call, CallState, Webhook
from lumper.notify.port import Caller
from lumper.notify.webhook import body_of, headers_of
from lumper.queue.retry import RetryPolicy
from lumper.registry.catalog.webhooks import Webhooks

log = get_logger(__name__)

# About a day: a receiver that is away over night misses nothing.
PATIENCE = RetryPolicy(attempts=32, first=2.0, factor=3.0, longest=3600.0)
_IDLE_SECONDS = 30.0  # without a webhook; one that is added here is heard of at once
_AT_ONCE = 4  # calls to one webhook
_CLEAN = timedelta(hours=1)

Outcome = Callable[[str], None]


class WebhookSender:
    """Makes calls. `told` hears what became of each try: delivered, failed or dead."""

    def __init__(
        self,
        webhooks: Webhooks,
        caller: Caller,
        public_url: str,
        told: Outcome,
        policy: RetryPolicy = PATIENCE,
        *,
        look_seconds: float = 1.0,
    ) -> None:
        self._webhooks = webhooks
        self._caller = caller
        self._public_url = public_url
        self._told = told
        self._policy = policy
        self._look_seconds = look_seconds
        self._busy: set[tuple[int, str]] = set()
        self._cleaned = datetime.min.replace(tzinfo=UTC)

    async def run(self) -> None:
        """Tell until cancelled, while no other process does so."""
        try:
            await self._tell_for_ever()
        finally:
            await self._caller.close()

    async def _tell_for_ever(self) -> None:
        listening: list[Webhook] = []
        async with asyncio.TaskGroup() as calls:
            while True:
                try:
                    listening = await self._webhooks.all()
                    if listening:
                        await self._round(listening, calls)
                except LumperError as exc:
                    log.warning("the webhooks wait", action="webhooks.wait", error=exc.sentence)
                await self._webhooks.wait(self._look_seconds if listening else _IDLE_SECONDS)

    async def _round(self, listening: Sequence[Webhook], calls: asyncio.TaskGroup) -> None:
        """Make calls of what has happened, and begin those whose time has come; none waits for another webhook's."""
        await self._webhooks.spread()
        for webhook in listening:
            before = set(self._busy)  # what ends while we look may be seen as if it still waited
            for call in await self._webhooks.due(webhook.id, 2 * _AT_ONCE):
                key = (webhook.id, call.event["repository"])
                if key not in before and sum(number == webhook.id for number, _ in self._busy) < _AT_ONCE:
                    self._busy.add(key)
                    calls.create_task(self._called(call, webhook, key))
        if datetime.now(UTC) - self._cleaned > _CLEAN:
            await self._webhooks.forget_delivered()
            self._cleaned = datetime.now(UTC)

    async def _called(self, call: Call, webhook: Webhook, key: tuple[int, str]) -> None:
        try:
            await self._call(call, webhook)
        except LumperError as exc:  # the call is made again: nobody knows that it was
            log.warning("the webhooks wait", action="webhooks.wait", error=exc.sentence)
            await asyncio.sleep(self._look_seconds)
        finally:
            self._busy.discard(key)
            self._webhooks.wake()

    async def _call(self, call: Call, webhook: Webhook) -> None:
        body = body_of(call, webhook.format, self._public_url)
        headers = headers_of(call, webhook.format, await self._webhooks.secret(webhook), body)
        try:
            await self._caller.call(webhook.url, body, headers, private=webhook.private)
        except ChannelUnavailable as exc:
            delay = self._policy.delay(call.tries + 1)
            await self._webhooks.failed(call, exc.message, delay)
            self._told("failed" if delay is not None else CallState.DEAD.value)
            log.warning(
                "a webhook was not told",
                action="webhook.retry" if delay is not None else "webhook.dead",
                webhook=webhook.id,
                event_id=call.event["id"],
                tries=call.tries + 1,
                error=exc.message,
            )
        else:
            await self._webhooks.delivered(call)
            self._told(CallState.DELIVERED.value)
