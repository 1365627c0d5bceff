"""Processes and brokers die in the middle; no message is lost, and none is in two hands."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lumper.errors import QueueUnavailable
from lumper.queue.brokers.sqlite import SqliteBroker
from lumper.queue.port import Broker, Message
from parts.line.queue_process import LEASE, QueueProcess, open_queue
from parts.line.topics import SOON, following
from parts.servers.rabbitmq import RabbitNode


@pytest.fixture(params=["sqlite", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def queue(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return str(tmp_path / "queue.db")
    node: RabbitNode = request.getfixturevalue("rabbitmq")
    return node.url


@pytest.fixture
async def broker(queue: str) -> AsyncIterator[Broker]:
    made = open_queue(queue)
    yield made
    await made.close()


async def test_what_a_killed_process_held_goes_to_another(queue: str, broker: Broker, topic: str) -> None:
    await broker.publish([Message("one", topic, b"body")])
    async with QueueProcess("hold", queue, topic) as holder:
        assert await holder.line() == "holding one"
        async with broker.consume(topic) as deliveries:
            await holder.kill()
            delivery = await following(deliveries)
            assert delivery.message == Message("one", topic, b"body")
            assert delivery.deliveries == 2
            await delivery.ack()


async def test_what_was_published_before_a_kill_is_there(queue: str, broker: Broker, topic: str) -> None:
    async with QueueProcess("publish", queue, topic, 10_000) as publisher:
        for number in range(50):
            assert await publisher.line() == f"published {number}"
        await publisher.kill()
    async with broker.consume(topic, prefetch=10) as deliveries:
        for number in range(50):
            delivery = await following(deliveries)
            assert delivery.message.id == str(number)
            await delivery.ack()


async def test_two_processes_never_get_the_same_message(queue: str, broker: Broker, topic: str) -> None:
    ids = [str(number) for number in range(500)]
    async with QueueProcess("drain", queue, topic) as one, QueueProcess("drain", queue, topic) as other:
        await broker.publish([Message(id_, topic, b"") for id_ in ids])
        await broker.publish([Message("end 1", topic, b""), Message("end 2", topic, b"")])
        begun = [await one.line(), await other.line()]  # both are at work
        await one.answer()
        await other.answer()
        first, second = await asyncio.gather(one.lines(), other.lines())
    assert sorted([*begun, *first, *second]) == sorted(f"got {id_}" for id_ in ids)


async def test_a_waiting_process_hears_of_what_another_publishes(queue: str, broker: Broker, topic: str) -> None:
    async with broker.consume(topic) as deliveries, QueueProcess("publish", queue, topic, 1) as publisher:
        assert await publisher.line() == "published 0"
        async with asyncio.timeout(SOON):
            assert (await anext(deliveries)).message.id == "0"


async def longest_pause(seconds: float) -> float:
    """Wait for so long; for how many seconds of it nothing could run here."""
    loop = asyncio.get_running_loop()
    before, longest = loop.time(), 0.0
    end = before + seconds
    while before < end:
        await asyncio.sleep(0.05)
        longest = max(longest, loop.time() - before)
        before = loop.time()
    return longest


async def test_a_holder_renews_its_lease_for_as_long_as_it_lives(tmp_path: Path, topic: str) -> None:
    broker, taken = SqliteBroker(tmp_path / "queue.db", lease=LEASE), True
    async with QueueProcess("hold", str(tmp_path / "queue.db"), topic, lease=LEASE) as holder:
        while taken:
            await broker.publish([Message("one", topic, b"")])
            assert await holder.line() == "holding one"
            async with broker.consume(topic) as deliveries:
                waiting = asyncio.ensure_future(anext(deliveries))
                pause = await longest_pause(2 * LEASE)
                if taken := waiting.done():
                    assert pause > LEASE / 2  # the machine stood still: once more
                    await waiting.result().ack()
                waiting.cancel()
                await holder.answer()
                assert await holder.line() == "acked"
        assert await broker.depth(topic) == 0
    await broker.close()


async def test_a_lease_that_is_not_renewed_ends_and_a_late_answer_does_nothing(tmp_path: Path, topic: str) -> None:
    broker = SqliteBroker(tmp_path / "queue.db", lease=LEASE)
    await broker.publish([Message("one", topic, b"")])
    async with QueueProcess("hold", str(tmp_path / "queue.db"), topic, lease=LEASE) as holder:
        assert await holder.line() == "holding one"
        async with broker.consume(topic) as deliveries:
            holder.process.send_signal(signal.SIGSTOP)
            delivery = await following(deliveries)
            holder.process.send_signal(signal.SIGCONT)
            await holder.answer()
            assert await holder.line() == "acked"
            assert await broker.depth(topic) == 1
            await delivery.ack()
        assert await broker.depth(topic) == 0
    await broker.close()


async def test_a_killed_rabbitmq_has_everything_when_it_is_back(rabbitmq: RabbitNode, topic: str) -> None:
    broker = open_queue(rabbitmq.url)
    await broker.publish([Message(str(number), topic, b"body") for number in range(200)])
    await asyncio.to_thread(rabbitmq.wait_until_kept, f"lumper.{topic}")
    async with broker.consume(topic) as deliveries:
        held = await following(deliveries)
        try:
            await asyncio.to_thread(rabbitmq.kill)
            with pytest.raises(QueueUnavailable):
                await following(deliveries)
            await held.ack()
            async with asyncio.timeout(SOON):
                with pytest.raises(QueueUnavailable) as refused:
                    await broker.publish([Message("lost", topic, b"")])
        finally:
            await asyncio.to_thread(rabbitmq.start)
    assert f"127.0.0.1:{rabbitmq.port}" in refused.value.sentence
    assert rabbitmq.password not in refused.value.sentence
    received = set()
    async with broker.consume(topic, prefetch=50) as deliveries:
        for _ in range(200):
            delivery = await following(deliveries)
            received.add(delivery.message.id)
            await delivery.ack()
    assert received == {str(number) for number in range(200)}
    await broker.publish([Message("after", topic, b"")])
    await broker.close()
