"""When to try again: a pure decision."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RetryPolicy:
    """Exponential back-off.

    The first retry comes after `first` seconds, each later one after `factor` times that, at most after `longest`.
    """

    attempts: int = 8
    first: float = 1.0
    factor: float = 4.0
    longest: float = 900.0

    def delay(self, tries: int) -> float | None:
        """Seconds to wait after the `tries`-th failed try (from 1), or None to give up."""
        return None if tries >= self.attempts else self.pause(tries)

    def pause(self, tries: int) -> float:
        """The same for who never gives up, however often it has failed."""
        try:
            return min(self.first * self.factor ** (tries - 1), self.longest)
        except OverflowError:
            return self.longest
