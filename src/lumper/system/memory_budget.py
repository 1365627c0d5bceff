"""Memory for what is on its way, which all who have something under way share: together they hold no more than it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class MemoryBudget:
    """`size` bytes for all. The more there are, the less each holds, down to `least`; the first ones hold `most`."""

    def __init__(self, size: int, least: int, most: int) -> None:
        self._size = size
        self._least = least
        self._most = most
        self._holders = 0

    @contextmanager
    def taken(self) -> Iterator[None]:
        """For as long as somebody has something under way."""
        self._holders += 1
        try:
            yield
        finally:
            self._holders -= 1

    @property
    def share(self) -> int:
        """How many bytes each may hold at the moment."""
        return max(self._least, min(self._most, self._size // max(1, self._holders)))
