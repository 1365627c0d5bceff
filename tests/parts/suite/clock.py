"""A time that stands until a test sets it forward."""

from __future__ import annotations


class Clock:
    """Says `now`, in seconds."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now
