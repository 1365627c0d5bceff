"""The port that every broker implements: publish, consume, ack, retry, dead-letter."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Message:
    """One message. `id` is the publisher's: a second publish of the same id to the same topic may be dropped."""

    id: str
    topic: str
    body: bytes


@dataclass(frozen=True)
class DeadLetter:
    """A message that was given up, with the reason. `deliveries` is how often it had been tried."""

    message: Message
    reason: str
    deliveries: int


class Delivery(Protocol):
    """One message in the hands of one consumer, until exactly one of the three answers is given.

    While it is held, the broker gives it to nobody else; if the consumer's process dies or its connection breaks, it
    comes back. An answer to a delivery that came back meanwhile does nothing.
    """

    @property
    def message(self) -> Message:
        """What was published."""

    @property
    def deliveries(self) -> int:
        """How often this message was handed out, this time included; a broker may count only the ones it knows of."""

    async def ack(self) -> None:
        """It is done: forget it. Raises QueueUnavailable."""

    async def retry(self, delay: float, reason: str) -> None:
        """Hand it out again after `delay` seconds, to whomever. Raises QueueUnavailable.

        A broker may take up to twice as long, and may cut a delay of more than an hour to an hour.
        """

    async def dead_letter(self, reason: str) -> None:
        """Put it aside for a person to look at. Raises QueueUnavailable."""


class Broker(Protocol):
    """A durable queue with topics, which come into being when they are first named.

    All methods may be called from any task of one event loop, at the same time. Messages of one topic are handed out in
    the order of their publishing, as long as nothing is retried.
    """

    async def publish(self, messages: Sequence[Message], *, durable: bool = True) -> None:
        """Store the messages; on return they survive a crash. All or, after an error, possibly some of them.

        Without `durable` a power cut may take them back, with all that the caller published and answered since. Raises
        QueueUnavailable, soon (within 10 s), when the broker cannot take them.
        """

    def consume(self, topic: str, *, prefetch: int = 1) -> AbstractAsyncContextManager[AsyncIterator[Delivery]]:
        """A subscription: the iterator waits for messages for ever, with at most `prefetch` unanswered at a time.

        On leaving the context, unanswered deliveries go back at once. While the broker is away the iterator raises
        QueueUnavailable; the caller subscribes anew.
        """

    async def take(self, topic: str) -> Delivery:
        """Wait for one message and take it in hand; nothing else is handed to this caller.

        For work that fills its consumer: it may be answered long after. Raises QueueUnavailable.
        """

    async def depth(self, topic: str) -> int:
        """How many messages wait in the topic, with those in hand or delayed that the broker can tell of.

        Raises QueueUnavailable.
        """

    async def dead_letters(self, topic: str, limit: int = 100) -> list[DeadLetter]:
        """The oldest messages that were put aside from this topic, without removing them. Raises QueueUnavailable."""

    async def revive(self, topic: str) -> int:
        """Publish everything that was put aside from this topic again; how many. Raises QueueUnavailable."""

    async def close(self) -> None:
        """End all subscriptions and connections; whatever is asked afterwards raises QueueUnavailable. Idempotent."""
