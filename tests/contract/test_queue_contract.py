"""What every broker does, whatever it is made of."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from lumper.errors import QueueUnavailable
from lumper.queue.brokers.memory import MemoryBroker
from lumper.queue.brokers.rabbitmq import RabbitBroker
from lumper.queue.brokers.sqlite import SqliteBroker
from lumper.queue.port import Broker, DeadLetter, Delivery, Message
from parts.line.topics import SOON, following
from parts.servers.rabbitmq import RabbitNode


@pytest.fixture(params=["memory", "sqlite", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
async def broker(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Broker]:
    made: Broker
    match request.param:
        case "memory":
            made = MemoryBroker()
        case "sqlite":
            made = SqliteBroker(tmp_path / "queue.db")
        case _:
            node: RabbitNode = request.getfixturevalue("rabbitmq")
            made = RabbitBroker(node.url, timeout=SOON)
    yield made
    await made.close()


def messages(topic: str, count: int) -> list[Message]:
    return [Message(f"{topic}-{number}", topic, f"body {number}".encode()) for number in range(count)]


async def nothing_comes(deliveries: AsyncIterator[Delivery], seconds: float = 0.3) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await anext(deliveries)
    except TimeoutError:
        return True
    return False


async def becomes(expected: int, ask: Callable[[], Awaitable[int]]) -> bool:
    """Whether the number gets there soon: some brokers count a moment later than they answer."""
    async with asyncio.timeout(SOON):
        while await ask() != expected:  # noqa: ASYNC110 — the number lives in another process
            await asyncio.sleep(0.02)
    return True


async def test_a_message_arrives_as_it_was_published(broker: Broker, topic: str) -> None:
    message = Message("the id ✓", topic, bytes(range(256)))
    await broker.publish([message])
    async with broker.consume(topic) as deliveries:
        delivery = await following(deliveries)
        assert delivery.message == message
        assert delivery.deliveries == 1
        await delivery.ack()


async def test_an_empty_body_and_a_large_one_arrive(broker: Broker, topic: str) -> None:
    large = b"x" * 3_000_000
    await broker.publish([Message("empty", topic, b""), Message("large", topic, large)])
    async with broker.consume(topic, prefetch=2) as deliveries:
        assert (await following(deliveries)).message.body == b""
        assert (await following(deliveries)).message.body == large


async def test_messages_come_in_the_order_of_their_publishing(broker: Broker, topic: str) -> None:
    sent = messages(topic, 60)
    await broker.publish(sent[:30])
    received: list[Message] = []
    async with broker.consume(topic, prefetch=7) as deliveries:
        for message in sent[30:]:
            await broker.publish([message])
        while len(received) < len(sent):
            delivery = await following(deliveries)
            received.append(delivery.message)
            await delivery.ack()
    assert received == sent


async def test_publishing_nothing_is_fine(broker: Broker, topic: str) -> None:
    await broker.publish([])
    assert await broker.depth(topic) == 0


async def test_one_batch_may_go_to_several_topics(broker: Broker, topic: str) -> None:
    await broker.publish([Message("same id", topic, b"1"), Message("same id", f"{topic}-other", b"2")])
    async with broker.consume(topic) as one, broker.consume(f"{topic}-other") as other:
        assert (await following(one)).message.body == b"1"
        assert (await following(other)).message.body == b"2"


async def test_a_waiting_consumer_hears_at_once_of_what_is_published(broker: Broker, topic: str) -> None:
    async with broker.consume(topic) as deliveries:
        waiting = asyncio.create_task(following(deliveries))
        await asyncio.sleep(0)
        await broker.publish(messages(topic, 1))
        assert (await waiting).message.id == f"{topic}-0"


async def test_many_publish_at_the_same_time(broker: Broker, topic: str) -> None:
    sent = messages(topic, 100)
    await asyncio.gather(*(broker.publish([message]) for message in sent))
    received = set()
    async with broker.consume(topic, prefetch=20) as deliveries:
        for _ in sent:
            delivery = await following(deliveries)
            received.add(delivery.message)
            await delivery.ack()
    assert received == set(sent)


async def test_no_more_than_the_prefetch_are_in_hand(broker: Broker, topic: str) -> None:
    await broker.publish(messages(topic, 5))
    async with broker.consume(topic, prefetch=2) as deliveries:
        first, _ = await following(deliveries), await following(deliveries)
        assert await nothing_comes(deliveries)
        await first.ack()
        assert (await following(deliveries)).message.id == f"{topic}-2"
        assert await nothing_comes(deliveries)


async def test_what_one_consumer_holds_no_other_gets(broker: Broker, topic: str) -> None:
    await broker.publish(messages(topic, 1))
    async with broker.consume(topic) as one:
        await following(one)
        async with broker.consume(topic) as other:
            assert await nothing_comes(other)


async def test_two_consumers_share_a_topic(broker: Broker, topic: str) -> None:
    async with broker.consume(topic) as one, broker.consume(topic) as other:
        await broker.publish(messages(topic, 2))
        got = {(await following(one)).message.id, (await following(other)).message.id}
    assert got == {f"{topic}-0", f"{topic}-1"}


async def test_what_a_consumer_gives_back_is_handed_out_before_later_messages(broker: Broker, topic: str) -> None:
    await broker.publish(messages(topic, 4))
    async with broker.consume(topic) as stays:
        async with broker.consume(topic) as leaves:
            held = {(one := await following(stays)).message.id, (await following(leaves)).message.id}
            assert held == {f"{topic}-0", f"{topic}-1"}
        [given_back] = held - {one.message.id}
        await one.ack()
        for expected in (given_back, f"{topic}-2", f"{topic}-3"):
            delivery = await following(stays)
            assert delivery.message.id == expected
            await delivery.ack()


async def test_leaving_gives_back_at_once_what_was_not_answered(broker: Broker, topic: str) -> None:
    await broker.publish(messages(topic, 3))
    async with broker.consume(topic, prefetch=3) as deliveries:
        await (await following(deliveries)).ack()
        assert (await following(deliveries)).message.id == f"{topic}-1"
    async with broker.consume(topic, prefetch=3) as deliveries:
        again = [await following(deliveries), await following(deliveries)]
        assert [delivery.message.id for delivery in again] == [f"{topic}-1", f"{topic}-2"]
        assert again[0].deliveries == 2
        assert await nothing_comes(deliveries)


async def test_an_exception_in_the_consumer_gives_the_message_back(broker: Broker, topic: str) -> None:
    await broker.publish(messages(topic, 1))
    with pytest.raises(ZeroDivisionError):
        async with broker.consume(topic) as deliveries:
            await following(deliveries)
            raise ZeroDivisionError
    async with broker.consume(topic) as deliveries:
        assert (await following(deliveries)).deliveries == 2


async def test_a_cancelled_consumer_gives_the_message_back(broker: Broker, topic: str) -> None:
    await broker.publish(messages(topic, 1))
    in_hand = asyncio.Event()

    async def hold() -> None:
        async with broker.consume(topic) as deliveries:
            await following(deliveries)
            in_hand.set()
            await asyncio.Event().wait()

    holder = asyncio.create_task(hold())
    await in_hand.wait()
    holder.cancel()
    await asyncio.wait([holder])
    async with broker.consume(topic) as deliveries:
        assert (await following(deliveries)).message.id == f"{topic}-0"


async def test_a_cancelled_wait_loses_no_message(broker: Broker, topic: str) -> None:
    async with broker.consume(topic) as deliveries:
        assert await nothing_comes(deliveries, 0.01)
        await broker.publish(messages(topic, 1))
        assert (await following(deliveries)).message.id == f"{topic}-0"


async def test_an_answer_to_a_delivery_that_went_back_does_nothing(broker: Broker, topic: str) -> None:
    await broker.publish(messages(topic, 3))
    async with broker.consume(topic, prefetch=3) as deliveries:
        late = [await following(deliveries) for _ in range(3)]
    await late[0].ack()
    await late[1].retry(0.01, "too late")
    await late[2].dead_letter("too late")
    async with broker.consume(topic, prefetch=4) as deliveries:
        for number in range(3):
            delivery = await following(deliveries)
            assert delivery.message.id == f"{topic}-{number}"
            await delivery.ack()
        assert await nothing_comes(deliveries)
    assert await broker.dead_letters(topic) == []


async def test_a_second_answer_does_nothing(broker: Broker, topic: str) -> None:
    await broker.publish(messages(topic, 2))
    async with broker.consume(topic) as deliveries:
        delivery = await following(deliveries)
        await delivery.ack()
        await delivery.ack()
        await delivery.retry(0, "again")
        await delivery.dead_letter("again")
        assert (await following(deliveries)).message.id == f"{topic}-1"
        assert await nothing_comes(deliveries)
    assert await broker.dead_letters(topic) == []


async def test_a_retried_message_comes_again_after_its_delay(broker: Broker, topic: str) -> None:
    await broker.publish(messages(topic, 1))
    loop = asyncio.get_running_loop()
    async with broker.consume(topic) as deliveries:
        began = loop.time()
        await (await following(deliveries)).retry(0.5, "not yet")
        again = await following(deliveries)
        assert loop.time() - began >= 0.49
        assert (again.message.id, again.message.body) == (f"{topic}-0", b"body 0")
        assert again.deliveries == 2
        await again.retry(0.01, "once more")
        third = await following(deliveries)
        assert third.deliveries == 3
        await third.ack()
        assert await nothing_comes(deliveries)


async def test_neither_a_short_delay_nor_anybody_else_is_held_up_by_a_long_one(broker: Broker, topic: str) -> None:
    await broker.publish(messages(topic, 3))
    async with broker.consume(topic) as deliveries:
        await (await following(deliveries)).retry(3000, "much later")
        other = await following(deliveries)
        assert other.message.id == f"{topic}-1"
        await other.ack()
        await (await following(deliveries)).retry(0.2, "soon")
        assert (await following(deliveries)).message.id == f"{topic}-2"


async def test_a_retry_without_delay_comes_at_once(broker: Broker, topic: str) -> None:
    await broker.publish(messages(topic, 1))
    async with broker.consume(topic) as deliveries:
        await (await following(deliveries)).retry(0, "again")
        assert (await following(deliveries)).deliveries == 2


async def test_a_retried_message_may_go_to_another_consumer(broker: Broker, topic: str) -> None:
    await broker.publish(messages(topic, 2))
    async with broker.consume(topic) as one:
        tries, delivery = 0, await following(one)
        while delivery.message.id == f"{topic}-0":  # on a slow machine its delay is over before the next one is taken
            await delivery.retry(0.05, "somebody else, please")
            tries, delivery = tries + 1, await following(one)
        async with broker.consume(topic) as other:  # while the first one has its hands full
            again = await following(other)
            assert (again.message.id, again.deliveries) == (f"{topic}-0", tries + 1)


async def test_a_dead_letter_is_kept_with_its_reason(broker: Broker, topic: str) -> None:
    await broker.publish(messages(topic, 3))
    async with broker.consume(topic) as deliveries:
        await (await following(deliveries)).dead_letter("no such project ✗")
        await (await following(deliveries)).dead_letter("odd text: \ud800")
        await (await following(deliveries)).ack()
    assert await becomes(2, lambda: count(broker.dead_letters(topic)))
    first, second = await broker.dead_letters(topic)
    assert first.message == Message(f"{topic}-0", topic, b"body 0")
    assert first.reason == "no such project ✗"
    assert first.deliveries == 1
    assert second.reason.startswith("odd text:")
    assert await broker.dead_letters(topic, limit=1) == [first]
    assert await broker.dead_letters(topic) == [first, second]
    assert await becomes(0, lambda: broker.depth(topic))


async def count(letters: Awaitable[list[DeadLetter]]) -> int:
    return len(await letters)


async def test_revived_dead_letters_are_published_anew(broker: Broker, topic: str) -> None:
    await broker.publish(messages(topic, 3))
    async with broker.consume(topic) as deliveries:
        await (await following(deliveries)).retry(0, "first try")
        for _ in range(3):
            await (await following(deliveries)).dead_letter("all wrong")
    assert await becomes(3, lambda: count(broker.dead_letters(topic)))
    assert await broker.revive(topic) == 3
    assert await broker.dead_letters(topic) == []
    assert await broker.revive(topic) == 0
    async with broker.consume(topic) as deliveries:
        ids = set()
        for _ in range(3):
            delivery = await following(deliveries)
            assert delivery.deliveries == 1
            ids.add(delivery.message.id)
            await delivery.ack()
    assert ids == {f"{topic}-{number}" for number in range(3)}


async def test_the_depth_counts_what_waits_and_what_is_in_hand(broker: Broker, topic: str) -> None:
    assert await broker.depth(topic) == 0
    await broker.publish(messages(topic, 4))
    async with broker.consume(topic, prefetch=2) as deliveries:
        delivery = await following(deliveries)
        assert await becomes(4, lambda: broker.depth(topic))
        await delivery.ack()
        assert await becomes(3, lambda: broker.depth(topic))
    assert await becomes(3, lambda: broker.depth(topic))


async def test_an_id_may_be_used_again_when_its_message_is_done(broker: Broker, topic: str) -> None:
    async with broker.consume(topic) as deliveries:
        for _ in range(2):
            await broker.publish(messages(topic, 1))
            await (await following(deliveries)).ack()


@pytest.mark.parametrize("broker", ["memory", "sqlite"], indirect=True)
async def test_the_same_id_is_taken_once_while_its_message_waits_or_is_in_hand(broker: Broker, topic: str) -> None:
    (message,) = messages(topic, 1)
    await broker.publish([message, message])
    await broker.publish([message])
    assert await broker.depth(topic) == 1
    async with broker.consume(topic, prefetch=2) as deliveries:
        delivery = await following(deliveries)
        await broker.publish([message])
        assert await nothing_comes(deliveries)
        await delivery.ack()
    assert await broker.depth(topic) == 0


async def test_what_is_taken_stays_in_hand_and_nothing_else_comes_with_it(broker: Broker, topic: str) -> None:
    await broker.publish(messages(topic, 3))
    async with asyncio.timeout(SOON):
        first, second = await broker.take(topic), await broker.take(topic)
    assert [first.message.body, second.message.body] == [b"body 0", b"body 1"]
    async with broker.consume(topic, prefetch=3) as deliveries:
        third = await following(deliveries)
        assert (third.message.body, third.deliveries) == (b"body 2", 1)
        assert await nothing_comes(deliveries)
        await third.ack()
        await second.retry(0.0, "again")
        again = await following(deliveries)
        assert (again.message.body, again.deliveries) == (b"body 1", 2)
        await again.ack()
    await first.ack()
    assert await becomes(0, lambda: broker.depth(topic))


async def test_a_cancelled_take_leaves_the_message_to_the_next(broker: Broker, topic: str) -> None:
    waiting = asyncio.create_task(broker.take(topic))
    await asyncio.sleep(0.05)
    waiting.cancel()
    await asyncio.wait([waiting])
    await broker.publish(messages(topic, 1))
    async with asyncio.timeout(SOON):
        await (await broker.take(topic)).ack()
    assert await becomes(0, lambda: broker.depth(topic))


async def test_a_closed_broker_says_so(broker: Broker, topic: str) -> None:
    await broker.publish(messages(topic, 1))
    async with broker.consume(topic) as deliveries:
        delivery = await following(deliveries)
        waiting = asyncio.create_task(following(deliveries))
        await asyncio.sleep(0)
        await broker.close()
        with pytest.raises(QueueUnavailable):
            await waiting
        await delivery.ack()
    await broker.close()
    with pytest.raises(QueueUnavailable):
        await broker.publish(messages(topic, 1))
    with pytest.raises(QueueUnavailable):
        await broker.depth(topic)
    with pytest.raises(QueueUnavailable):
        async with broker.consume(topic):
            raise AssertionError("subscribed to a closed broker")
