"""What only a real RabbitMQ can do to us: refuse, forget, stay silent, cut the connection."""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from lumper.errors import QueueError, QueueUnavailable
from lumper.model.events import worker_topic
from lumper.queue.brokers.rabbitmq import RabbitBroker
from lumper.queue.brokers.rabbitmq_topology import DELIVERY_LIMIT
from lumper.queue.port import Delivery, Message
from parts.line.topics import SOON, following
from parts.servers.rabbitmq import RabbitNode


@pytest.fixture
async def broker(rabbitmq: RabbitNode) -> AsyncIterator[RabbitBroker]:
    made = RabbitBroker(rabbitmq.url, timeout=SOON)
    yield made
    await made.close()


async def is_published(broker: RabbitBroker, message: Message) -> bool:
    try:
        await broker.publish([message])
    except QueueUnavailable:
        return False
    return True


async def test_a_message_that_kills_its_consumers_ends_as_a_dead_letter(broker: RabbitBroker, topic: str) -> None:
    await broker.publish([Message("poison", topic, b"")])
    async with asyncio.timeout(SOON):
        while not await broker.dead_letters(topic):
            async with broker.consume(topic) as deliveries:
                with suppress(TimeoutError):
                    async with asyncio.timeout(0.5):
                        await anext(deliveries)
    (letter,) = await broker.dead_letters(topic)
    assert letter.message.id == "poison"
    assert letter.deliveries == DELIVERY_LIMIT
    assert str(DELIVERY_LIMIT) in letter.reason
    assert await broker.revive(topic) == 1


async def test_a_cut_connection_ends_the_subscription_and_gives_the_message_back(
    broker: RabbitBroker, rabbitmq: RabbitNode, topic: str
) -> None:
    await broker.publish([Message("one", topic, b"")])
    async with broker.consume(topic) as deliveries:
        held = await following(deliveries)
        await asyncio.to_thread(rabbitmq.control, "close_all_connections", "test")
        with pytest.raises(QueueUnavailable):
            await following(deliveries)
        await held.ack()
        await held.retry(1, "too late")
    async with broker.consume(topic) as deliveries:
        assert (await following(deliveries)).deliveries == 2
    await broker.publish([Message("two", topic, b"")])


async def test_a_deleted_queue_ends_the_subscription_and_is_made_again(
    broker: RabbitBroker, rabbitmq: RabbitNode, topic: str
) -> None:
    async with broker.consume(topic) as deliveries:
        await asyncio.to_thread(rabbitmq.control, "delete_queue", f"lumper.{topic}")
        with pytest.raises(QueueUnavailable):
            await following(deliveries)
    await broker.publish([Message("one", topic, b"")])
    async with broker.consume(topic) as deliveries:
        assert (await following(deliveries)).message.id == "one"


async def test_the_queue_of_a_worker_vanishes_after_it_and_comes_back_with_it(rabbitmq: RabbitNode) -> None:
    topic = worker_topic(secrets.token_hex(6))
    broker = RabbitBroker(rabbitmq.url, personal_expiry=0.5)
    async with broker.consume(topic) as deliveries:
        await broker.publish([Message("one", topic, b"")])
        await (await following(deliveries)).ack()
    async with asyncio.timeout(SOON):
        while f"lumper.{topic}\n" in await asyncio.to_thread(rabbitmq.control, "list_queues", "name"):
            pass
    await broker.publish([Message("two", topic, b"")])  # to a queue that is made for it, and may have gone again
    async with broker.consume(topic) as deliveries:
        await broker.publish([Message("three", topic, b"")])
        while (delivery := await following(deliveries)).message.id != "three":
            assert delivery.message.id == "two"
            await delivery.ack()
        await delivery.retry(0.1, "personal messages wait, too")
        assert (await following(deliveries)).deliveries == 2
    await broker.close()


async def test_publishing_goes_on_after_the_broker_refused_a_message(
    broker: RabbitBroker, rabbitmq: RabbitNode, topic: str
) -> None:
    await broker.publish([Message("one", topic, b"")])
    limit = ("set_policy", topic, f"^lumper.{topic}$", '{"max-length": 1}', "--apply-to", "queues")
    await asyncio.to_thread(rabbitmq.control, *limit)
    with pytest.raises(QueueUnavailable, match=f":{rabbitmq.port}"):
        async with asyncio.timeout(SOON):
            while True:  # the queue hears of its limit a moment later
                await broker.publish([Message(str(number), topic, b"") for number in range(100)])
    await asyncio.to_thread(rabbitmq.control, "clear_policy", topic)
    async with asyncio.timeout(SOON):
        while not await is_published(broker, Message("last", topic, b"")):
            pass


async def test_a_queue_with_other_settings_is_an_error_that_names_it(rabbitmq: RabbitNode, topic: str) -> None:
    import aio_pika

    connection = await aio_pika.connect(rabbitmq.url)
    await (await connection.channel()).declare_queue(f"lumper.{topic}", auto_delete=True)
    broker = RabbitBroker(rabbitmq.url)
    with pytest.raises(QueueError, match=f"lumper.{topic}"):
        await broker.publish([Message("one", topic, b"")])
    await broker.publish([Message("one", f"{topic}-other", b"")])
    await broker.close()
    await connection.close()


async def test_a_broker_short_of_memory_takes_nothing_but_still_gives(
    broker: RabbitBroker, rabbitmq: RabbitNode, topic: str
) -> None:
    await broker.publish([Message("one", topic, b"")])
    impatient = RabbitBroker(rabbitmq.url, timeout=3)
    await asyncio.to_thread(rabbitmq.control, "set_vm_memory_high_watermark", "absolute", "1MB")
    try:
        with pytest.raises(QueueUnavailable, match="does not answer"):
            async with asyncio.timeout(SOON):
                while True:  # the broker looks at its memory every now and then
                    await impatient.publish([Message("two", topic, b"")])
        async with broker.consume(topic) as deliveries:
            await (await following(deliveries)).ack()
    finally:
        await asyncio.to_thread(rabbitmq.control, "set_vm_memory_high_watermark", "absolute", "512MB")
        await impatient.close()
    async with asyncio.timeout(SOON):
        while not await is_published(broker, Message("three", topic, b"")):
            pass


async def test_a_wrong_password_is_named_but_not_shown(rabbitmq: RabbitNode, topic: str) -> None:
    broker = RabbitBroker(rabbitmq.url.replace(rabbitmq.password, "hunter2"))
    with pytest.raises(QueueUnavailable, match="refuses the user or the password") as refused:
        await broker.publish([Message("one", topic, b"")])
    assert "hunter2" not in refused.value.sentence
    await broker.close()


async def test_a_virtual_host_that_is_not_there_is_told(rabbitmq: RabbitNode, topic: str) -> None:
    broker = RabbitBroker(rabbitmq.url.replace("%2F", "nowhere"))
    with pytest.raises(QueueUnavailable, match="virtual host"):
        await broker.publish([Message("one", topic, b"")])
    await broker.close()


async def test_a_broker_that_is_not_there_is_named(topic: str) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        broker = RabbitBroker(f"amqp://lumper:hunter2@127.0.0.1:{port}/")
        for ask in (broker.depth(topic), broker.publish([Message("one", topic, b"")]), broker.revive(topic)):
            with pytest.raises(QueueUnavailable, match=f"127.0.0.1:{port}") as refused:
                await ask
            assert "hunter2" not in refused.value.sentence
        with pytest.raises(QueueUnavailable, match=f"127.0.0.1:{port}"):
            async with broker.consume(topic):
                raise AssertionError("subscribed to nothing")
        await broker.close()


async def test_a_server_that_stays_silent_is_given_up_in_time(topic: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        url, one = f"amqp://lumper:hunter2@127.0.0.1:{port}/", Message("one", topic, b"")
        broker, patient = RabbitBroker(url, timeout=0.5), RabbitBroker(url, timeout=3600)
        waiting = asyncio.create_task(patient.publish([one]))
        with pytest.raises(QueueUnavailable, match=f"127.0.0.1:{port} does not answer"):
            await broker.publish([one])
        assert not waiting.done()
        waiting.cancel()
        await asyncio.wait([waiting])
        await broker.close()
        await patient.close()


async def test_a_taken_message_goes_back_when_the_connection_breaks(
    broker: RabbitBroker, rabbitmq: RabbitNode, topic: str
) -> None:
    await broker.publish([Message("one", topic, b"")])
    taken = await broker.take(topic)
    await asyncio.to_thread(rabbitmq.control, "close_all_connections", "test")
    async with asyncio.timeout(SOON):
        while (again := await take_if_possible(broker, topic)) is None:
            pass
    assert again.deliveries == 2
    await taken.ack()
    await taken.dead_letter("too late")
    await again.ack()
    assert await broker.depth(topic) == 0
    assert await broker.dead_letters(topic) == []


async def take_if_possible(broker: RabbitBroker, topic: str) -> Delivery | None:
    try:
        return await broker.take(topic)
    except QueueUnavailable:  # the broken connection is not noticed at once
        return None
