"""When lost workers are looked for: never before those that live could be heard of."""

from __future__ import annotations

import pytest

from lumper.model.builds.lease import LEASE_SECONDS
from lumper.queue.brokers.memory import MemoryBroker
from lumper.queue.retry import RetryPolicy
from lumper.roles.base import consume
from lumper.roles.duties import Hearing, when_heard
from parts.line.running import running
from parts.suite.eventually import eventually

START = 1_800_000_000.0


@pytest.mark.parametrize(
    ("looks", "waited"),
    [
        ((0.0, 5.0, 10.1), [True, False, False]),  # it has just begun
        ((0.0, 5.0, 50.0, 55.0), [True, False, True, False]),  # its machine stood still, or the clock was set forward
        ((0.0, 5.0, -3600.0, -3595.0), [True, False, False, False]),  # the clock was set back: all leases are longer
    ],
)
async def test_time_to_be_heard_of_comes_before_a_look_that_follows_no_other(
    looks: tuple[float, ...], waited: list[bool]
) -> None:
    time, slept, looked = START, list[float](), 0

    async def sleep(seconds: float) -> None:
        nonlocal time
        time += seconds
        slept.append(seconds)

    async def expire() -> None:
        nonlocal looked
        looked += 1

    hearing = Hearing()
    hearing(True)
    look = when_heard(expire, hearing, lambda: time, sleep)
    for at, waits in zip(looks, waited, strict=True):
        time, before = time + at - (looks[looked - 1] if looked else 0.0), len(slept)
        await look()
        assert slept[before:] == ([LEASE_SECONDS] if waits else [])
    assert looked == len(looks)


async def test_nobody_is_taken_for_lost_while_the_queue_is_away_nor_before_a_leases_time_has_passed() -> None:
    hearing, slept, looked = Hearing(), list[float](), 0

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:  # it goes away once more meanwhile
            hearing(False)
            hearing(True)

    async def expire() -> None:
        nonlocal looked
        looked += 1

    look = when_heard(expire, hearing, lambda: START, sleep)
    for works, waits, looks in [
        (False, 0, 0),  # it has never been there
        (True, 1, 1),
        (True, 1, 2),
        (False, 1, 2),
        (True, 2, 3),  # there was no look while it was away, or there was one
        (False, 2, 3),
        (True, 3, 3),
        (True, 4, 4),
    ]:
        hearing(works)
        await look()
        assert (len(slept), looked) == (waits, looks)


async def test_a_server_hears_of_workers_as_long_as_its_queue_is_there() -> None:
    broker, hearing = MemoryBroker(), Hearing()

    async def nothing(_: object) -> None: ...

    async def hears() -> bool:
        return hearing.works

    async def hears_no_more() -> bool:
        return not hearing.works

    async with running(consume(broker, "events", nothing, RetryPolicy(), hearing)):
        await eventually(hears)
        broker.interrupt()
        await eventually(hears_no_more)
        broker.resume()
        await eventually(hears)
    assert hearing.breaks == 1
