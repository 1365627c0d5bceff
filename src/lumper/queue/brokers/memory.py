"""The broker that lives and dies with the process: for tests and for trying things out."""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from lumper.errors import QueueUnavailable
from lumper.queue.brokers.inbox import Inbox
from lumper.queue.port import DeadLetter, Message


@dataclass
class _Entry:
    """A message that waits, is delayed, or is in somebody's hands."""

    order: int
    message: Message
    deliveries: int = 0

    def __lt__(self, other: _Entry) -> bool:
        return self.order < other.order


class _Topic:
    """The messages and the subscriptions of one topic."""

    def __init__(self) -> None:
        self.alive: dict[str, _Entry] = {}
        self.ready: list[_Entry] = []
        self.dead: list[DeadLetter] = []
        self.subscriptions: deque[_Subscription] = deque()
        self._published = 0

    def add(self, message: Message) -> None:
        """Append a message, unless one of its id is there."""
        if message.id not in self.alive:
            self._published += 1
            entry = self.alive[message.id] = _Entry(self._published, message)
            self.make_ready(entry)

    def make_ready(self, entry: _Entry) -> None:
        """Let the entry be handed out, at its place in the order of publishing."""
        heapq.heappush(self.ready, entry)
        self.hand_out()

    def hand_out(self) -> None:
        """Give what is ready to subscriptions with room, in turn."""
        while self.ready and (subscription := self._with_room()):
            entry = heapq.heappop(self.ready)
            entry.deliveries += 1
            subscription.take(entry)

    def _with_room(self) -> _Subscription | None:
        for _ in range(len(self.subscriptions)):
            self.subscriptions.rotate(-1)
            if self.subscriptions[-1].has_room:
                return self.subscriptions[-1]
        return None


class _Subscription:
    def __init__(self, broker: MemoryBroker, topic: _Topic, prefetch: int) -> None:
        self.broker = broker
        self.topic = topic
        self.inbox: Inbox[_Delivery] = Inbox()
        self._prefetch = prefetch
        self._held: set[_Delivery] = set()
        topic.subscriptions.append(self)
        topic.hand_out()

    @property
    def has_room(self) -> bool:
        return len(self._held) < self._prefetch

    def take(self, entry: _Entry) -> None:
        delivery = _Delivery(self, entry)
        self._held.add(delivery)
        self.inbox.put(delivery)

    def let_go(self, delivery: _Delivery) -> bool:
        """Whether the delivery was still held; it is not any more."""
        held = delivery in self._held
        self._held.discard(delivery)
        if held and self._prefetch == 0:
            self.topic.subscriptions.remove(self)
        return held

    def retire(self) -> None:
        """Take nothing more; with the answer to what is in hand, this is over."""
        self._prefetch = 0

    def close(self) -> None:
        """Give everything back. Idempotent."""
        for delivery in self.inbox.unread:
            delivery.entry.deliveries -= 1
        if self in self.topic.subscriptions:
            self.topic.subscriptions.remove(self)
        held, self._held = self._held, set()
        for delivery in held:
            self.topic.make_ready(delivery.entry)


class _Delivery:
    def __init__(self, subscription: _Subscription, entry: _Entry) -> None:
        self.entry = entry
        self.message = entry.message
        self.deliveries = entry.deliveries
        self._subscription = subscription
        self._topic = subscription.topic

    async def ack(self) -> None:
        self._subscription.broker.check()
        if self._subscription.let_go(self):
            del self._topic.alive[self.message.id]
            self._topic.hand_out()

    async def retry(self, delay: float, reason: str) -> None:
        self._subscription.broker.check()
        if self._subscription.let_go(self):
            asyncio.get_running_loop().call_later(delay, self._topic.make_ready, self.entry)
            self._topic.hand_out()

    async def dead_letter(self, reason: str) -> None:
        self._subscription.broker.check()
        if self._subscription.let_go(self):
            del self._topic.alive[self.message.id]
            self._topic.dead.append(DeadLetter(self.message, reason, self.deliveries))
            self._topic.hand_out()


class MemoryBroker:
    """Topics in this process only. Implements queue.port.Broker.

    `interrupt` lets the broker be away, as if its connection broke, until `resume`.
    """

    def __init__(self) -> None:
        self._topics: dict[str, _Topic] = {}
        self._closed = False
        self._away = False

    async def publish(self, messages: Sequence[Message], *, durable: bool = True) -> None:
        for message in messages:
            self._topic(message.topic).add(message)

    @asynccontextmanager
    async def consume(self, topic: str, *, prefetch: int = 1) -> AsyncIterator[AsyncIterator[_Delivery]]:
        subscription = _Subscription(self, self._topic(topic), prefetch)
        try:
            yield subscription.inbox
        finally:
            subscription.close()

    async def take(self, topic: str) -> _Delivery:
        subscription = _Subscription(self, self._topic(topic), 1)
        try:
            delivery = await anext(subscription.inbox)
        except BaseException:
            subscription.close()
            raise
        subscription.retire()
        return delivery

    async def depth(self, topic: str) -> int:
        return len(self._topic(topic).alive)

    async def dead_letters(self, topic: str, limit: int = 100) -> list[DeadLetter]:
        return self._topic(topic).dead[:limit]

    async def revive(self, topic: str) -> int:
        place = self._topic(topic)
        dead, place.dead = place.dead, []
        for letter in dead:
            place.add(letter.message)
        return len(dead)

    async def close(self) -> None:
        self._closed = True
        self._break(_closed())

    def interrupt(self) -> None:
        """Break all subscriptions; whatever is asked or answered from now on raises QueueUnavailable."""
        self._away = True
        self._break(_away())

    def resume(self) -> None:
        """Be there again, with every message that was not answered."""
        self._away = False

    def check(self) -> None:
        """Raise QueueUnavailable while the broker is away."""
        if self._away:
            raise _away()

    def _break(self, error: QueueUnavailable) -> None:
        for topic in self._topics.values():
            broken, topic.subscriptions = topic.subscriptions, deque()
            for subscription in broken:
                subscription.inbox.fail(error)
                subscription.close()

    def _topic(self, name: str) -> _Topic:
        if self._closed:
            raise _closed()
        self.check()
        return self._topics.setdefault(name, _Topic())


def _closed() -> QueueUnavailable:
    return QueueUnavailable("The queue was closed.", hint="Lumper is stopping.")


def _away() -> QueueUnavailable:
    return QueueUnavailable("The queue is away.")
