"""Which logs of builds go: those that are too old, and the oldest ones when all together are too large. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True)
class KeptLog:
    """The log of a build that has ended: of all its attempts up to `attempt`, `size` bytes together."""

    build_id: int
    attempt: int
    size: int
    ended_at: datetime


@dataclass(frozen=True)
class LogLimits:
    """How long logs are kept, how many bytes of all, and how long what forges sent; zero: without a limit."""

    age: timedelta = timedelta()
    size: int = 0
    deliveries: timedelta = timedelta()


def surplus(logs: Iterable[KeptLog], total: int, now: datetime, limits: LogLimits) -> list[KeptLog]:
    """The logs that go, the oldest first. `total` is the size of all, also of those of builds that still run.

    >>> day = datetime(2026, 1, 1)
    >>> logs = [KeptLog(n, 1, 10, day + timedelta(days=n)) for n in range(4)]
    >>> [log.build_id for log in surplus(logs, 45, day + timedelta(days=4), LogLimits(timedelta(days=3), 20))]
    [0, 1, 2]
    """
    gone = []
    for log in sorted(logs, key=lambda log: (log.ended_at, log.build_id)):
        old = limits.age and now - log.ended_at > limits.age
        if not old and not (limits.size and total > limits.size):
            break
        gone.append(log)
        total -= log.size
    return gone
