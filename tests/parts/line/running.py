"""Roles at work inside a test, and an ear on a topic of their queue."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from lumper.errors import QueueUnavailable
from lumper.model.events import Payload
from lumper.queue.codec import decode, encode
from lumper.queue.port import Broker, Message
from parts.suite.eventually import LONGEST

Kind = TypeVar("Kind", bound=Payload)


@asynccontextmanager
async def running(part: Coroutine[Any, Any, None]) -> AsyncIterator[asyncio.Task[None]]:
    """Let a part run while the block does; it ends with it. An error of its own comes out."""
    task = asyncio.create_task(part)
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@dataclass
class Ear:
    """What was heard on a topic, in order."""

    heard: list[Payload] = field(default_factory=list)
    _news: asyncio.Condition = field(default_factory=asyncio.Condition)

    def of(self, kind: type[Kind]) -> list[Kind]:
        """What was heard of this kind."""
        return [payload for payload in self.heard if isinstance(payload, kind)]

    async def until(self, kind: type[Kind], count: int = 1, seconds: float = LONGEST) -> list[Kind]:
        """Wait until so many of this kind were heard; they. Raises TimeoutError."""
        await self.until_true(lambda: len(self.of(kind)) >= count, seconds)
        return self.of(kind)

    async def until_true(self, condition: Callable[[], bool], seconds: float = LONGEST) -> None:
        """Wait until something holds of what was heard. Raises TimeoutError."""
        async with asyncio.timeout(seconds), self._news:
            await self._news.wait_for(condition)

    async def hear(self, broker: Broker, topic: str) -> None:
        """Take every message of the topic, for ever."""
        while True:
            try:
                async with broker.consume(topic, prefetch=100) as deliveries:
                    async for delivery in deliveries:
                        async with self._news:
                            self.heard.append(decode(delivery.message.body))
                            self._news.notify_all()
                        await delivery.ack()
            except QueueUnavailable:
                await asyncio.sleep(0.02)


@asynccontextmanager
async def listening(broker: Broker, topic: str) -> AsyncIterator[Ear]:
    """Hear a topic while the block runs."""
    ear = Ear()
    async with running(ear.hear(broker, topic)):
        yield ear


def message(payload: Payload, topic: str, number: int = 1) -> Message:
    """A payload as a message; the same number is the same message."""
    return Message(f"{topic}-{number}", topic, encode(payload))
