"""The broker for many machines: RabbitMQ from 3.10 on (AMQP 0-9-1)."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, AbstractQueue, HeadersType
from aio_pika.exceptions import PublishError

from lumper.errors import QueueUnavailable
from lumper.queue.brokers import rabbitmq_topology as topology
from lumper.queue.brokers.inbox import Inbox
from lumper.queue.brokers.rabbitmq_headers import (
    DELIVERIES,
    ID,
    REASON,
    RETRIED,
    dead_letter_from,
    message_from,
    number_in,
    storable,
)
from lumper.queue.brokers.rabbitmq_link import Link, close_quietly, translated
from lumper.queue.brokers.rabbitmq_topology import Queue
from lumper.queue.port import DeadLetter, Message

_LOOKED_AT = 1000  # dead letters
_CONSUMER_TIMEOUT_MS = 7 * 24 * 3600 * 1000


@dataclass(frozen=True)
class _Outgoing:
    """A message on its way into a queue, with the headers that it gets."""

    queue: Queue
    message: Message
    routing_key: str
    headers: HeadersType
    delay: float | None = None


class RabbitBroker:
    """Topics as quorum queues (rabbitmq_topology.py). Implements queue.port.Broker.

    `url` is amqp[s]://user:password@host:port/virtual-host; `personal_expiry`, in seconds, is how long the queue of one
    worker outlives it; `timeout`, in seconds, is how long the broker may take to answer.

    Messages may be delivered twice, and an id is not looked at: the broker does not know it. The depth counts what
    waits in the queue and what this process holds, but not what is delayed.

    A message may be held for a week where the broker lets consumers say so (`x-consumer-timeout`: quorum queues from
    4.3 on); otherwise its own `consumer_timeout` (30 minutes) gives it to somebody else.
    https://www.rabbitmq.com/docs/consumers#acknowledgement-timeout
    """

    def __init__(self, url: str, *, personal_expiry: float = 3600, timeout: float = 8) -> None:
        self._publishing = Link(url, "publisher")
        self._consuming = Link(url, "consumer")  # apart: a broker short of space stops reading from publishers
        self._personal_expiry = personal_expiry
        self._timeout = timeout
        self._publisher: AbstractChannel | None = None
        self._looker: AbstractChannel | None = None
        self._declared: set[str] = set()
        self._opening = asyncio.Lock()
        self._preparing = asyncio.Lock()
        self._looking = asyncio.Lock()
        self._subscriptions: set[_Subscription] = set()

    async def publish(self, messages: Sequence[Message], *, durable: bool = True) -> None:
        await self._send([self._to_topic(message, 0) for message in messages])

    @asynccontextmanager
    async def consume(self, topic: str, *, prefetch: int = 1) -> AsyncIterator[AsyncIterator[_Delivery]]:
        subscription = await self._subscribe(topic, prefetch)
        try:
            yield subscription.inbox
        finally:
            await self.end(subscription)

    async def take(self, topic: str) -> _Delivery:
        subscription = await self._subscribe(topic, 1)
        try:
            delivery = await anext(subscription.inbox)
            await subscription.retire(self._timeout)
        except BaseException:
            await self.end(subscription)
            raise
        return delivery

    async def _subscribe(self, topic: str, prefetch: int) -> _Subscription:
        subscription = _Subscription(self, topic, self._consuming.place)
        with translated(self._consuming.place):
            async with asyncio.timeout(self._timeout):
                queues = self._queues_of(topic)
                self._declared.difference_update(queue.name for queue in queues)
                await self._prepare(self._consuming, queues)
                await subscription.begin(await self._consuming.channel(confirms=False), queues[-1].name, prefetch)
        self._subscriptions.add(subscription)
        return subscription

    async def end(self, subscription: _Subscription) -> None:
        """Give back what a subscription holds, and close it."""
        self.forget(subscription)
        await subscription.close()

    def forget(self, subscription: _Subscription) -> None:
        """The subscription holds nothing any more."""
        self._subscriptions.discard(subscription)

    async def depth(self, topic: str) -> int:
        held = sum(len(subscription.held) for subscription in self._subscriptions if subscription.topic == topic)
        async with self._look(self._topic_queue(topic)) as queue:
            return held + (queue.declaration_result.message_count or 0)

    async def dead_letters(self, topic: str, limit: int = 100) -> list[DeadLetter]:
        async with self._look(self._dead_queue(topic)) as queue:
            # A quorum queue puts what is given back at its end: only taking all of them keeps the order.
            found = [letter async for letter in _taken(queue, self._timeout, max(limit, _LOOKED_AT))]
            if found:
                await found[-1].nack(multiple=True)
            return [dead_letter_from(topic, letter) for letter in found[:limit]]

    async def revive(self, topic: str) -> int:
        revived: set[str] = set()
        count = 0
        async with self._look(self._dead_queue(topic)) as queue:
            async for letter in _taken(queue, self._timeout):
                message = message_from(topic, letter)
                if message.id in revived:  # it was put aside again meanwhile
                    await letter.nack()
                    break
                await self._send([self._to_topic(message, 0)])
                await letter.ack()
                revived.add(message.id)
                count += 1
        return count

    async def close(self) -> None:
        for subscription in tuple(self._subscriptions):
            subscription.inbox.fail(QueueUnavailable("The queue was closed.", hint="Lumper is stopping."))
            await subscription.close()
        await self._consuming.close()
        await self._publishing.close()

    async def send_later(self, message: Message, deliveries: int, delay: float, reason: str) -> None:
        """Publish a message that was handed out before, to be handed out again after `delay` seconds."""
        if delay <= 0:
            await self._send([self._to_topic(message, deliveries)])
            return
        await self._send(
            [
                _Outgoing(
                    topology.delay_queue(message.topic, delay),
                    message,
                    self._topic_queue(message.topic).name,
                    {ID: message.id, DELIVERIES: deliveries, RETRIED: storable(reason)},
                    min(delay, topology.LONGEST_DELAY),
                )
            ]
        )

    async def put_aside(self, message: Message, deliveries: int, reason: str) -> None:
        """Publish a message to the dead letters."""
        queue = self._dead_queue(message.topic)
        headers: HeadersType = {ID: message.id, DELIVERIES: deliveries, REASON: storable(reason)}
        await self._send([_Outgoing(queue, message, queue.name, headers)])

    def _to_topic(self, message: Message, deliveries: int) -> _Outgoing:
        queue = self._topic_queue(message.topic)
        return _Outgoing(queue, message, queue.name, {ID: message.id, DELIVERIES: deliveries})

    def _topic_queue(self, topic: str) -> Queue:
        return topology.topic_queue(topic, self._personal_expiry)

    def _dead_queue(self, topic: str) -> Queue:
        return topology.dead_queue(topic, self._personal_expiry)

    def _queues_of(self, topic: str) -> tuple[Queue, Queue]:
        return self._dead_queue(topic), self._topic_queue(topic)

    async def _send(self, outgoing: Sequence[_Outgoing]) -> None:
        """Publish, and wait until the broker has confirmed that it keeps every message."""
        with translated(self._publishing.place):
            try:
                async with asyncio.timeout(self._timeout):
                    homeless = await self._publish_all(outgoing)
                    if homeless:  # the queue was deleted, or expired, since it was declared
                        self._declared.difference_update(one.queue.name for one in homeless)
                        homeless = await self._publish_all(homeless)
            except TimeoutError:
                await self._publishing.drop()
                raise
        if homeless:
            raise QueueUnavailable(f"RabbitMQ at {self._publishing.place} has no queue {homeless[0].queue.name}.")

    async def _publish_all(self, outgoing: Sequence[_Outgoing]) -> list[_Outgoing]:
        """Publish in order; those that had no queue to go to."""
        await self._prepare(self._publishing, (queue for one in outgoing for queue in self._needed_for(one)))
        channel = await self._publishing_channel()
        answers = await asyncio.gather(*(_publish(channel, one) for one in outgoing), return_exceptions=True)
        failures = [answer for answer in answers if isinstance(answer, BaseException)]
        refusals = [failure for failure in failures if not isinstance(failure, PublishError)]
        if refusals:
            self._declared.clear()
            await self._discard(channel)
            raise refusals[0]
        return [one for one, answer in zip(outgoing, answers, strict=True) if isinstance(answer, PublishError)]

    def _needed_for(self, one: _Outgoing) -> tuple[Queue, ...]:
        return (*self._queues_of(one.message.topic), one.queue)

    async def _publishing_channel(self) -> AbstractChannel:
        async with self._opening:
            if self._publisher is None or self._publisher.is_closed:
                self._publisher = await self._publishing.channel(confirms=True)
            return self._publisher

    async def _discard(self, channel: AbstractChannel) -> None:
        """Publish no more on a channel on which the broker did not take a message: it may refuse all that follow."""
        if self._publisher is channel:
            self._publisher = None
        await close_quietly(channel)

    async def _prepare(self, link: Link, queues: Iterable[Queue]) -> None:
        """Declare what is not known to be there."""
        wanted = {queue.name: queue for queue in queues}
        if wanted.keys() <= self._declared:
            return
        async with self._preparing:
            missing = [queue for name, queue in wanted.items() if name not in self._declared]
            if not missing:  # somebody else was faster
                return
            channel = await link.channel(confirms=False)
            try:
                for queue in missing:
                    await _declare(channel, queue)
                    self._declared.add(queue.name)
            finally:
                await close_quietly(channel)

    @asynccontextmanager
    async def _look(self, queue: Queue) -> AsyncIterator[AbstractQueue]:
        """A queue whose messages nobody else of this process looks at meanwhile.

        All looks share one channel, because the broker gives back on one channel and takes on another in any order.
        """
        with translated(self._consuming.place):
            async with self._looking:
                async with asyncio.timeout(self._timeout):
                    if self._looker is None or self._looker.is_closed:
                        self._looker = await self._consuming.channel(confirms=False)
                    declared = await _declare(self._looker, queue)
                try:
                    yield declared
                except BaseException:
                    await close_quietly(self._looker)
                    raise


class _Subscription:
    """A consumer on a channel of its own; with the channel, the broker takes back what is not answered."""

    def __init__(self, broker: RabbitBroker, topic: str, place: str) -> None:
        self.topic = topic
        self.broker = broker
        self.place = place
        self.inbox: Inbox[_Delivery] = Inbox()
        self.held: set[_Delivery] = set()
        self._channel: AbstractChannel | None = None
        self._retired = False

    async def begin(self, channel: AbstractChannel, queue_name: str, prefetch: int) -> None:
        """Let the messages come."""
        self._channel = channel
        try:
            channel.close_callbacks.add(self._on_close)
            (await channel.get_underlay_channel()).on_consumer_cancel_callbacks.add(self._on_cancel)
            await channel.set_qos(prefetch)
            self._queue = await channel.get_queue(queue_name, ensure=False)
            self._tag = await self._queue.consume(
                self._on_message, arguments={"x-consumer-timeout": _CONSUMER_TIMEOUT_MS}
            )
        except BaseException:
            await self.close()
            raise

    async def retire(self, timeout: float) -> None:
        """Let no more messages come, within `timeout` seconds; with the answer to what is in hand, this is over."""
        with translated(self.place):
            async with asyncio.timeout(timeout):
                await self._queue.cancel(self._tag)
        self._retired = True

    async def finish(self) -> None:
        """Close a retired subscription that holds nothing."""
        if self._retired and not self.held:
            await self.broker.end(self)

    async def close(self) -> None:
        """Give everything back. Idempotent."""
        self.held.clear()
        if self._channel is not None:
            await close_quietly(self._channel)

    async def _on_message(self, message: AbstractIncomingMessage) -> None:
        delivery = _Delivery(self, message)
        self.held.add(delivery)
        self.inbox.put(delivery)

    async def _on_close(self, _channel: Any, _reason: BaseException | None) -> None:
        self.held.clear()
        self.broker.forget(self)
        self.inbox.fail(QueueUnavailable(f"The connection to RabbitMQ at {self.place} broke."))

    async def _on_cancel(self, _frame: Any) -> None:
        self.inbox.fail(QueueUnavailable(f"RabbitMQ at {self.place} ended the subscription to {self.topic}."))


class _Delivery:
    def __init__(self, subscription: _Subscription, incoming: AbstractIncomingMessage) -> None:
        self.message = message_from(subscription.topic, incoming)
        self.deliveries = number_in(incoming, DELIVERIES) + number_in(incoming, "x-delivery-count") + 1
        self._subscription = subscription
        self._incoming = incoming
        self._answering = False

    async def ack(self) -> None:
        await self._answer(None)

    async def retry(self, delay: float, reason: str) -> None:
        broker = self._subscription.broker
        await self._answer(lambda: broker.send_later(self.message, self.deliveries, delay, reason))

    async def dead_letter(self, reason: str) -> None:
        broker = self._subscription.broker
        await self._answer(lambda: broker.put_aside(self.message, self.deliveries, reason))

    async def _answer(self, publish: Callable[[], Awaitable[None]] | None) -> None:
        """Publish the message to where it goes next, if anywhere, and only then let go of this one."""
        if self not in self._subscription.held or self._answering:
            return
        self._answering = True
        try:
            if publish is not None:
                await publish()
            self._subscription.held.discard(self)
            with suppress(QueueUnavailable), translated(self._subscription.place):
                await self._incoming.ack()  # on a broken connection it has gone back already
            await self._subscription.finish()
        finally:
            self._answering = False


async def _declare(channel: AbstractChannel, queue: Queue) -> AbstractQueue:
    declared = await channel.declare_queue(queue.name, durable=True, arguments=dict(queue.arguments))
    if queue.exchange:
        await channel.declare_exchange(queue.name, aio_pika.ExchangeType.FANOUT, durable=True)
        await declared.bind(queue.name)
    return declared


async def _publish(channel: AbstractChannel, one: _Outgoing) -> None:
    message = aio_pika.Message(
        one.message.body,
        headers=one.headers,
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        expiration=None if one.delay is None else one.delay + 0.001,  # the library cuts to whole milliseconds
    )
    exchange = channel.default_exchange
    if one.queue.exchange:
        exchange = await channel.get_exchange(one.queue.name, ensure=False)
    await exchange.publish(message, one.routing_key, mandatory=True)


async def _taken(
    queue: AbstractQueue, timeout: float, limit: int | None = None
) -> AsyncIterator[AbstractIncomingMessage]:
    """Messages until the queue is empty, or until there are `limit`."""
    for _ in itertools.count() if limit is None else range(limit):
        found = await queue.get(fail=False, timeout=timeout)
        if found is None:
            return
        yield found
