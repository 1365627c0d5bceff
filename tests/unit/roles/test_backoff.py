"""What failed is tried again, later and later, and at last not any more."""

from __future__ import annotations

from lumper.queue.retry import RetryPolicy
from lumper.roles.backoff import A_FEW_TIMES, FOR_A_DAY, Backoff


def test_what_failed_waits_longer_each_time_and_others_do_not_wait() -> None:
    now = [0.0]
    patience: Backoff[str] = Backoff(lambda: now[0])
    policy = RetryPolicy(attempts=3, first=2.0, factor=3.0)
    assert patience.failed("a", policy)
    assert patience.waiting == ["a"]
    now[0] = 2.0
    assert patience.waiting == []
    assert patience.failed("a", policy)
    now[0] = 7.9
    assert patience.waiting == ["a"]
    now[0] = 8.0
    assert patience.waiting == []
    assert not patience.failed("a", policy)


def test_what_went_well_begins_anew() -> None:
    patience: Backoff[int] = Backoff(lambda: 0.0)
    for _ in range(3 * A_FEW_TIMES.attempts):
        assert patience.failed(7, A_FEW_TIMES)
        patience.forget(7)
    assert patience.waiting == []


def test_something_that_is_away_is_waited_for_about_a_day() -> None:
    delays = [FOR_A_DAY.delay(tries) or 0.0 for tries in range(1, FOR_A_DAY.attempts)]
    assert 20 * 3600 < sum(delays) < 28 * 3600
