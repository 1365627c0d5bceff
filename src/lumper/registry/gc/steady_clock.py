"""The time by which things come of age: a machine's clock that is set forward makes nothing old at once."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

_PASSED = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # Linux has one that goes on in a machine that sleeps


def _passed() -> float:
    return time.clock_gettime(_PASSED)


class SteadyClock:
    """The time of day, as the lowest that the machine's clock has told within `settled`.

    So what happened just before the clock was set forward is not old before that time has really passed.
    """

    def __init__(
        self, settled: timedelta, day: Callable[[], float] = time.time, passed: Callable[[], float] = _passed
    ) -> None:
        """`day` tells the seconds of the epoch, `passed` the seconds since some moment, which nobody sets."""
        self._settled = settled.total_seconds()
        self._day = day
        self._passed = passed
        self._lower = deque[tuple[float, float]]()  # until when the day may have been so little ahead: ever more
        self._ahead = day() - passed()

    def now(self) -> datetime:
        """It is looked at whenever this is asked."""
        passed = self._passed()
        while self._lower and self._lower[-1][1] >= self._ahead:
            self._lower.pop()
        self._lower.append((passed, self._ahead))
        while self._lower and self._lower[0][0] <= passed - self._settled:
            self._lower.popleft()
        self._ahead = self._day() - passed
        ahead = min(self._ahead, self._lower[0][1]) if self._lower else self._ahead
        return datetime.fromtimestamp(passed + ahead, UTC)
