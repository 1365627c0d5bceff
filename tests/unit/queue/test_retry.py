from __future__ import annotations

import pytest

from lumper.queue.retry import RetryPolicy


def test_delays_grow_by_the_factor_up_to_the_longest() -> None:
    policy = RetryPolicy(attempts=6, first=1, factor=4, longest=100)
    assert [policy.delay(tries) for tries in range(1, 6)] == [1, 4, 16, 64, 100]


def test_it_gives_up_after_the_last_attempt() -> None:
    policy = RetryPolicy(attempts=3)
    assert policy.delay(2) is not None
    assert policy.delay(3) is None
    assert policy.delay(4) is None


def test_who_never_gives_up_waits_the_longest_at_last_however_often_it_fails() -> None:
    policy = RetryPolicy(attempts=2, first=0.2, factor=2.0, longest=10.0)
    assert [policy.pause(tries) for tries in (1, 2, 1_024, 1_025, 1_000_000)] == [0.2, 0.4, 10.0, 10.0, 10.0]


def test_a_single_attempt_is_never_tried_again() -> None:
    assert RetryPolicy(attempts=1).delay(1) is None


@pytest.mark.parametrize("tries", [1, 2, 7])
def test_the_default_waits_no_longer_than_a_quarter_of_an_hour(tries: int) -> None:
    delay = RetryPolicy().delay(tries)
    assert delay is not None
    assert 0 < delay <= 900
