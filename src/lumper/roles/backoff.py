"""What failed and is tried again, later and later: in memory, because the database says what is not done."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from lumper.queue.retry import RetryPolicy

Key = TypeVar("Key", bound=Hashable)

FOR_A_DAY = RetryPolicy(attempts=100, first=2.0, factor=2.0, longest=900.0)
"""For what fails because something else is away."""
A_FEW_TIMES = RetryPolicy(attempts=6, first=2.0, factor=2.0)
"""For what nobody expected."""


class Backoff(Generic[Key]):
    """How often each thing has failed, and when it is worth another try."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._tries: dict[Key, int] = {}
        self._due: dict[Key, float] = {}

    @property
    def waiting(self) -> list[Key]:
        """What is not to be tried now."""
        now = self._now()
        return [key for key, due in self._due.items() if due > now]

    def failed(self, key: Key, policy: RetryPolicy) -> bool:
        """It has failed once more; whether it is worth another try."""
        self._tries[key] = self._tries.get(key, 0) + 1
        delay = policy.delay(self._tries[key])
        if delay is None:
            self.forget(key)
            return False
        self._due[key] = self._now() + delay
        return True

    def forget(self, key: Key) -> None:
        """It is done, or given up."""
        self._tries.pop(key, None)
        self._due.pop(key, None)
