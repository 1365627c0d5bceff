"""The embedded broker: a SQLite file that any number of processes of one machine share."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TypeVar

from lumper.errors import QueueError, QueueUnavailable
from lumper.queue.brokers import sqlite_work as work
from lumper.queue.brokers.inbox import Inbox
from lumper.queue.brokers.sqlite_file import QueueFile
from lumper.queue.brokers.sqlite_holder import Holder
from lumper.queue.port import DeadLetter, Message

T = TypeVar("T")

_POLL = 0.1  # seconds between two looks whether the file was written to
_ASK = 1.0  # seconds between two questions to the database: files have times in steps of some milliseconds
_LONGEST_WAIT = 60.0  # seconds; the wall clock, by which messages become due, may have been set meanwhile


class SqliteBroker:
    """Topics in a file. Implements queue.port.Broker.

    `lease` is in seconds: how long a message stays with a holder that neither answers nor renews nor dies visibly,
    for example because its machine's time stood still. Holders renew three times in a lease. Leases and delays go by
    the wall clock, because processes share them and they outlive a reboot; a clock that jumps by more than a lease may
    make a message be delivered twice.
    """

    def __init__(self, path: Path, *, lease: float = 30) -> None:
        self._file = QueueFile(path)
        self._holder = Holder(path)
        self._lease = lease
        self._subscriptions: set[_Subscription] = set()
        self._unreturned: tuple[set[int], set[int]] = (set(), set())
        self._watch: asyncio.Task[None] | None = None
        self._closed = False

    async def publish(self, messages: Sequence[Message], *, durable: bool = True) -> None:
        await self._file.write(lambda connection: work.publish(connection, messages), durable=durable)
        self.wake({message.topic for message in messages})

    @asynccontextmanager
    async def consume(self, topic: str, *, prefetch: int = 1) -> AsyncIterator[AsyncIterator[_Delivery]]:
        subscription = await self._subscribe(topic, prefetch)
        try:
            yield subscription.inbox
        finally:
            await self._unsubscribe(subscription)

    async def take(self, topic: str) -> _Delivery:
        subscription = await self._subscribe(topic, 1)
        try:
            delivery = await anext(subscription.inbox)
            await subscription.stop()
        except BaseException:
            await self._unsubscribe(subscription)
            raise
        return delivery

    async def _subscribe(self, topic: str, prefetch: int) -> _Subscription:
        if self._closed:
            raise QueueUnavailable("The queue was closed.", hint="Lumper is stopping.")
        await asyncio.to_thread(self._holder.begin)
        await self._end_leases_of_the_dead()
        subscription = _Subscription(self, topic, prefetch)
        self._subscriptions.add(subscription)
        self._watch = self._watch or asyncio.create_task(self._watch_others())
        return subscription

    async def depth(self, topic: str) -> int:
        return await self._file.read(lambda connection: work.depth(connection, topic))

    async def dead_letters(self, topic: str, limit: int = 100) -> list[DeadLetter]:
        return await self._file.read(lambda connection: work.dead_letters(connection, topic, limit))

    async def revive(self, topic: str) -> int:
        count = await self._file.write(lambda connection: work.revive(connection, topic), durable=True)
        self.wake({topic})
        return count

    async def close(self) -> None:
        self._closed = True
        for subscription in tuple(self._subscriptions):
            subscription.inbox.fail(QueueUnavailable("The queue was closed.", hint="Lumper is stopping."))
            await self._unsubscribe(subscription)
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.wait([self._watch])
            self._watch = None
        await self._file.close()
        await asyncio.to_thread(self._holder.end)

    async def claim(self, topic: str, count: int) -> work.Claims:
        """Take up to `count` messages in hand, if any is due."""
        now, holder, lease = time.time(), self._holder.name, self._lease
        return await self._file.write_unless(
            lambda connection: work.none_due(connection, topic, now),
            lambda connection: work.claim(connection, topic, holder, count=count, now=now, lease=lease),
        )

    async def answer(self, answer: Callable[[sqlite3.Connection, str], T]) -> T:
        """Run the answer to one delivery with the holder's name."""
        return await self._file.write(lambda connection: answer(connection, self._holder.name))

    def finished(self, subscription: _Subscription) -> None:
        """A subscription that takes nothing more has answered what it had."""
        self._subscriptions.discard(subscription)

    def wake(self, topics: set[str]) -> None:
        """There may be something to take of these."""
        for subscription in self._subscriptions:
            if subscription.topic in topics:
                subscription.wake()

    async def _unsubscribe(self, subscription: _Subscription) -> None:
        """Give back what was not answered: now, or later if the file cannot be written now."""
        if subscription not in self._subscriptions:
            return
        self._subscriptions.discard(subscription)
        try:
            await subscription.stop()
        finally:
            handed, unread = subscription.unanswered()
            self._unreturned[0].update(handed)
            self._unreturned[1].update(unread)
        with suppress(QueueError):
            await self._give_back()
        self.wake({subscription.topic})

    async def _give_back(self) -> None:
        handed, unread = (frozenset(seqs) for seqs in self._unreturned)
        if handed or unread:
            await self._file.write(lambda connection: work.give_back(connection, self._holder.name, handed, unread))
            self._unreturned[0].difference_update(handed)
            self._unreturned[1].difference_update(unread)

    async def _watch_others(self) -> None:
        """Notice what other processes commit, renew the leases, look for holders that died."""
        seen, written, asked, renewed = -1, self._file.written(), 0.0, time.monotonic()
        while True:
            await asyncio.sleep(_POLL)
            with suppress(QueueError):  # whoever waits for messages notices it, too, and tells
                before, written = written, self._file.written()
                if written != before or time.monotonic() - asked >= _ASK:
                    asked = time.monotonic()
                    version = await self._file.read(work.version)
                    if version != seen:
                        seen = version
                        self.wake({subscription.topic for subscription in self._subscriptions})
                if time.monotonic() - renewed >= self._lease / 3:
                    renewed = time.monotonic()
                    await self._renew()
                    await self._give_back()
                    await self._end_leases_of_the_dead()

    async def _renew(self) -> None:
        seqs = [seq for subscription in self._subscriptions for seq in subscription.held]
        if seqs:
            until = time.time() + self._lease
            await self._file.write(lambda connection: work.renew(connection, self._holder.name, seqs, until))

    async def _end_leases_of_the_dead(self) -> None:
        others = [name for name in await self._file.read(work.holders) if name != self._holder.name]
        dead = [name for name in others if not self._holder.is_alive(name)]
        if dead:
            await self._file.write(lambda connection: work.end_leases(connection, dead, time.time()))
            for name in dead:
                self._holder.forget(name)
            self.wake({subscription.topic for subscription in self._subscriptions})


class _Subscription:
    """Takes messages in hand for one iterator whenever it has room for them."""

    def __init__(self, broker: SqliteBroker, topic: str, prefetch: int) -> None:
        self.topic = topic
        self.inbox: Inbox[_Delivery] = Inbox()
        self.held: dict[int, _Delivery] = {}
        self._broker = broker
        self._prefetch = prefetch
        self._woken = asyncio.Event()
        self._stopping = False
        self._pump = asyncio.create_task(self._fill())

    def wake(self) -> None:
        """There may be something to take, or room for it."""
        self._woken.set()

    def returned(self) -> None:
        """A message is there again, for whoever of this process takes it: what others wrote is noticed, not that."""
        self._broker.wake({self.topic})

    async def stop(self) -> None:
        """Take nothing more. A claim under way is waited for, so that it is known what is held."""
        self._stopping = True
        self._woken.set()
        await asyncio.wait([self._pump])

    def unanswered(self) -> tuple[list[int], list[int]]:
        """What is still in hand: seen by the consumer, and not. From now on answers do nothing."""
        unread = [delivery.claimed.seq for delivery in self.inbox.unread]
        handed = [seq for seq in self.held if seq not in unread]
        self.held.clear()
        return handed, unread

    async def answer(self, delivery: _Delivery, answer: Callable[[sqlite3.Connection, str], None]) -> None:
        """Give the answer if the delivery is still in hand; after an error it is."""
        if self.held.get(delivery.claimed.seq) is delivery:
            await self._broker.answer(answer)
            self.held.pop(delivery.claimed.seq, None)
            self.wake()
            if self._stopping:
                self._broker.finished(self)

    async def _fill(self) -> None:
        try:
            while not self._stopping:
                self._woken.clear()
                wait = await self._take()
                with suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await self._woken.wait()
        except QueueError as exc:
            self.inbox.fail(exc)

    async def _take(self) -> float | None:
        """Take what is there and what there is room for; how long to wait for more (None: until woken)."""
        while room := self._prefetch - len(self.held):
            had = await self._broker.claim(self.topic, room)
            for claimed in had.claims:
                delivery = self.held[claimed.seq] = _Delivery(self, claimed)
                self.inbox.put(delivery)
            if not had.claims:
                if had.next_at is None:
                    return None
                # Due, and yet not to be had: somebody was faster, or it is one of ours whose renewal is late.
                seconds = had.next_at - time.time()
                return min(seconds, _LONGEST_WAIT) if seconds > 0 else _POLL
        return None


class _Delivery:
    def __init__(self, subscription: _Subscription, claimed: work.Claim) -> None:
        self.claimed = claimed
        self.message = claimed.message
        self.deliveries = claimed.deliveries
        self._subscription = subscription

    async def ack(self) -> None:
        await self._subscription.answer(self, lambda connection, holder: work.ack(connection, holder, self.claimed))

    async def retry(self, delay: float, reason: str) -> None:
        visible_at = time.time() + delay if delay > 0 else 0.0
        await self._subscription.answer(
            self, lambda connection, holder: work.retry(connection, holder, self.claimed, visible_at, reason)
        )
        self._subscription.returned()

    async def dead_letter(self, reason: str) -> None:
        await self._subscription.answer(
            self, lambda connection, holder: work.dead_letter(connection, holder, self.claimed, reason)
        )
