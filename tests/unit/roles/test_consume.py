"""The loop that all roles share: every message is handled, tried again, or put aside; none is lost."""

from __future__ import annotations

import asyncio
import signal

import pytest

from lumper.errors import MessageRefused, QueueError
from lumper.model.events import CancelBuild, Payload
from lumper.queue.brokers.memory import MemoryBroker
from lumper.queue.port import Message
from lumper.queue.retry import RetryPolicy
from lumper.roles.base import consume, forever, run_until_signal, supervise
from parts.line.running import message, running
from parts.suite.eventually import eventually

TOPIC = "jobs"
SOON = RetryPolicy(attempts=3, first=0.001, factor=1.0)


class Handler:
    """Takes messages; `faults` are raised first, one a call."""

    def __init__(self, *faults: BaseException) -> None:
        self.faults = list(faults)
        self.calls: list[int] = []
        self.done: list[int] = []

    async def __call__(self, payload: Payload) -> None:
        assert isinstance(payload, CancelBuild)
        self.calls.append(payload.build_id)
        if self.faults:
            raise self.faults.pop(0)
        self.done.append(payload.build_id)


async def publish(broker: MemoryBroker, *numbers: int) -> None:
    await broker.publish([message(CancelBuild(number, 1), TOPIC, number) for number in numbers])


async def empty(broker: MemoryBroker) -> bool:
    return await broker.depth(TOPIC) == 0


async def test_what_was_handled_is_gone_and_the_order_stays() -> None:
    broker, handler = MemoryBroker(), Handler()
    await publish(broker, 1, 2, 3)
    async with running(consume(broker, TOPIC, handler, SOON)):
        await eventually(lambda: empty(broker))
    assert handler.done == [1, 2, 3]


async def test_what_fails_comes_again_and_others_need_not_wait_for_it() -> None:
    broker, handler = MemoryBroker(), Handler(KeyError("a mistake"))
    await publish(broker, 1, 2)
    async with running(consume(broker, TOPIC, handler, SOON)):
        await eventually(lambda: empty(broker))
    assert handler.calls == [1, 2, 1]
    assert await broker.dead_letters(TOPIC) == []


async def test_what_fails_too_often_is_put_aside_with_its_reason() -> None:
    broker = MemoryBroker()
    handler = Handler(*(MessageRefused("No such mailbox.", hint="Ask Ann.") for _ in range(3)))
    await publish(broker, 1, 2)
    async with running(consume(broker, TOPIC, handler, RetryPolicy(attempts=2, first=0.001))):
        await eventually(lambda: empty(broker))
    [letter] = await broker.dead_letters(TOPIC)
    assert (letter.message.id, letter.reason, letter.deliveries) == ("jobs-1", "No such mailbox. Ask Ann.", 2)
    assert handler.done == [2]


async def test_a_message_that_nobody_understands_is_put_aside_at_once() -> None:
    broker, handler = MemoryBroker(), Handler()
    await broker.publish([Message("odd", TOPIC, b'{"type": "Later", "payload": {}}'), Message("odder", TOPIC, b"\xff")])
    await publish(broker, 1)
    async with running(consume(broker, TOPIC, handler, SOON)):
        await eventually(lambda: empty(broker))
    assert [letter.message.id for letter in await broker.dead_letters(TOPIC)] == ["odd", "odder"]
    assert handler.calls == [1]


async def test_a_queue_that_goes_away_is_waited_for() -> None:
    broker, handler = MemoryBroker(), Handler()
    async with running(consume(broker, TOPIC, handler, SOON)):
        await publish(broker, 1)
        await eventually(lambda: empty(broker))
        broker.interrupt()
        await asyncio.sleep(0)
        broker.resume()
        await publish(broker, 2)
        await eventually(lambda: empty(broker))
    assert handler.done == [1, 2]


async def test_an_answer_that_the_queue_did_not_hear_means_that_the_message_comes_again() -> None:
    broker = MemoryBroker()
    calls = []

    async def handler(payload: Payload) -> None:
        calls.append(payload)
        if len(calls) == 1:
            broker.interrupt()
            asyncio.get_running_loop().call_later(0.01, broker.resume)

    await publish(broker, 1)
    async with running(consume(broker, TOPIC, handler, SOON)):
        await eventually(lambda: empty(broker) if len(calls) > 1 else asyncio.sleep(0, False))
    assert len(calls) == 2


@pytest.mark.parametrize("away", [False, True])
async def test_a_role_that_ends_gives_its_message_back_and_ends_also_without_a_queue(away: bool) -> None:
    broker, begun = MemoryBroker(), asyncio.Event()

    async def handler(_: Payload) -> None:
        begun.set()
        await asyncio.Event().wait()

    await publish(broker, 1)
    async with running(consume(broker, TOPIC, handler, SOON)) as task:
        await begun.wait()
        if away:
            broker.interrupt()
        task.cancel()
        async with asyncio.timeout(60):
            await asyncio.wait([task])
    assert task.cancelled()
    broker.resume()
    assert (await broker.take(TOPIC)).message.id == "jobs-1"


@pytest.mark.parametrize("error", [QueueError("not now"), KeyError("a mistake")])
async def test_a_periodic_task_goes_on_after_an_error(error: Exception) -> None:
    calls = 0

    async def action() -> None:
        nonlocal calls
        calls += 1
        raise error

    async def called_again() -> bool:
        return calls > 2

    async with running(forever("test", 0.001, action)):
        await eventually(called_again)


async def test_a_periodic_task_that_waits_for_something_is_done_when_that_comes() -> None:
    calls, come = 0, asyncio.Event()

    async def action() -> None:
        nonlocal calls
        calls += 1
        come.clear()

    async def wait() -> None:
        await come.wait()

    async with running(forever("test", 0.0, action, wait)):
        for expected in (1, 2, 3):
            await eventually(lambda: _is(calls, expected))  # noqa: B023
            await asyncio.sleep(0.01)
            assert calls == expected
            come.set()


async def _is(value: int, expected: int) -> bool:
    return value == expected


async def test_a_part_that_fails_begins_anew() -> None:
    lives = 0

    async def part() -> None:
        nonlocal lives
        lives += 1
        if lives == 1:
            raise KeyError("a mistake")

    await asyncio.wait_for(supervise("test", part), 60)
    assert lives == 2


async def test_a_signal_ends_all_parts_and_waits_for_their_ends() -> None:
    ended = []

    async def part(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append(name)

    asyncio.get_running_loop().call_later(0.01, signal.raise_signal, signal.SIGTERM)
    await asyncio.wait_for(run_until_signal(part("a"), part("b")), 60)
    assert ended == ["a", "b"]


async def test_a_signal_is_not_lost_among_all_that_wakes_the_loop() -> None:
    loop = asyncio.get_running_loop()

    async def part() -> None:
        for _ in range(10_000):  # more than the socket takes by which threads wake it
            loop.call_soon_threadsafe(lambda: None)
        signal.raise_signal(signal.SIGTERM)
        await asyncio.Event().wait()

    await asyncio.wait_for(run_until_signal(part()), 60)


async def test_the_error_of_one_part_ends_all() -> None:
    async def bad() -> None:
        raise QueueError("no")

    with pytest.raises(QueueError):
        await asyncio.wait_for(run_until_signal(asyncio.Event().wait(), bad()), 60)  # type: ignore[arg-type]
