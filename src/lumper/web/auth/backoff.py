"""Slowing down those who guess passwords: after some failures, each further one makes the wait twice as long."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from lumper.errors import TooManyAttempts

_FREE = 5  # failures before the first wait
_FIRST = 1.0  # seconds
_LONGEST = 300.0  # seconds
_FORGIVEN = 900.0  # seconds after the last failure
_REMEMBERED = 10_000


@dataclass
class _Failures:
    count: int
    until: float
    last: float


class Backoff:
    """Counts failed sign-ins per address and name, in this process.

    The caller makes one attempt at a time for one address and name.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: OrderedDict[tuple[str, str], _Failures] = OrderedDict()

    def begin(self, address: str, name: str) -> None:
        """An attempt begins. Raises TooManyAttempts while its address and name have to wait."""
        now = self._clock()
        entry = self._failures.pop((address, name), None)
        if entry is None or now - entry.last > _FORGIVEN:
            entry = _Failures(0, now, now)
        self._failures[address, name] = entry
        if len(self._failures) > _REMEMBERED:
            self._failures.popitem(last=False)
        if now < entry.until:
            raise TooManyAttempts(math.ceil(entry.until - now))
        entry.count += 1
        entry.last = now
        if entry.count >= _FREE:
            entry.until = now + min(_LONGEST, _FIRST * 2.0 ** min(entry.count - _FREE, 20))

    def succeeded(self, address: str, name: str) -> None:
        """The attempt was right: everything is forgiven."""
        self._failures.pop((address, name), None)
