"""The clock of the collector, on a machine whose own is set."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from lumper.registry.gc.steady_clock import SteadyClock

HOUR, DAY = 3600.0, 86_400.0


class Machine:
    """Its two clocks. `set_by` seconds is what somebody has moved the one that tells the time of day."""

    def __init__(self) -> None:
        self.passed = 1000.0
        self.set_by = 0.0

    def day(self) -> float:
        return 1_800_000_000.0 + self.passed + self.set_by

    def clock(self, settled: timedelta = timedelta(hours=1)) -> SteadyClock:
        return SteadyClock(settled, self.day, lambda: self.passed)

    def behind(self, clock: SteadyClock) -> float:
        """By how many seconds the clock is behind the machine's, to the millisecond."""
        return round((datetime.fromtimestamp(self.day(), UTC) - clock.now()).total_seconds(), 3)


def test_a_clock_that_nobody_sets_tells_the_time() -> None:
    machine = Machine()
    clock = machine.clock()
    for _ in range(100):
        machine.passed += 600
        assert machine.behind(clock) == 0


@pytest.mark.parametrize("looked", [1, 600, 3000])
def test_a_clock_that_is_set_forward_is_believed_when_what_was_young_has_come_of_age(looked: int) -> None:
    machine = Machine()
    clock = machine.clock()
    machine.passed += looked
    young = clock.now()
    machine.passed += looked / 2
    machine.set_by = DAY
    since = 0.0
    while machine.behind(clock) and since < DAY:
        assert clock.now() - young <= timedelta(seconds=since + looked)
        machine.passed += looked
        since += looked
    assert HOUR <= since <= HOUR + 2 * looked


def test_a_clock_that_need_not_settle_is_believed_at_once() -> None:
    machine = Machine()
    clock = machine.clock(timedelta(0))
    for set_by in (0, DAY, -DAY):
        machine.set_by = set_by
        assert machine.behind(clock) == 0


def test_a_clock_that_is_set_back_is_believed_at_once() -> None:
    machine = Machine()
    clock = machine.clock()
    for back in (HOUR, DAY):
        machine.set_by = -back
        assert machine.behind(clock) == 0


def test_a_clock_that_was_set_forward_by_mistake_leaves_nothing_behind() -> None:
    machine = Machine()
    clock = machine.clock()
    for set_by, behind in ((DAY, DAY), (0, 0), (-HOUR, 0), (0, HOUR)):
        machine.passed += 10
        machine.set_by = set_by
        assert machine.behind(clock) == behind
    machine.passed += HOUR
    assert machine.behind(clock) == 0
