from __future__ import annotations

import pytest

from lumper.errors import TooManyAttempts
from lumper.web.auth.backoff import Backoff
from parts.suite.clock import Clock


@pytest.fixture
def backoff(clock: Clock) -> Backoff:
    return Backoff(clock)


def fail(backoff: Backoff, times: int, address: str = "10.0.0.1", name: str = "admin") -> None:
    for _ in range(times):
        backoff.begin(address, name)


def wait(backoff: Backoff) -> int:
    with pytest.raises(TooManyAttempts) as caught:
        backoff.begin("10.0.0.1", "admin")
    return caught.value.retry_after


def test_a_few_failures_cost_nothing_and_then_each_costs_twice_as_much(backoff: Backoff, clock: Clock) -> None:
    fail(backoff, 5)
    waits = []
    for _ in range(10):
        waits.append(wait(backoff))
        clock.now += waits[-1]
        fail(backoff, 1)

    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300]


def test_asking_while_waiting_does_not_make_the_wait_longer(backoff: Backoff, clock: Clock) -> None:
    fail(backoff, 6 - 1)
    assert [wait(backoff) for _ in range(50)] == [1] * 50

    clock.now += 1
    backoff.begin("10.0.0.1", "admin")


def test_another_name_and_another_address_do_not_wait(backoff: Backoff) -> None:
    fail(backoff, 5)

    backoff.begin("10.0.0.1", "other")
    backoff.begin("10.0.0.2", "admin")


def test_success_forgives_everything(backoff: Backoff) -> None:
    fail(backoff, 4)
    backoff.begin("10.0.0.1", "admin")
    backoff.succeeded("10.0.0.1", "admin")

    fail(backoff, 5)


def test_time_forgives_everything(backoff: Backoff, clock: Clock) -> None:
    fail(backoff, 5)
    clock.now += 901

    fail(backoff, 5)


def test_memory_is_bounded_by_forgetting_the_oldest(backoff: Backoff) -> None:
    fail(backoff, 5)
    for number in range(10_001):
        backoff.begin("10.0.0.3", f"name{number}")

    backoff.begin("10.0.0.1", "admin")
