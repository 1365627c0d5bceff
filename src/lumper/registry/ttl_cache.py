"""A cache whose entries are believed for a while."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

_T = TypeVar("_T")


class TtlCache(Generic[_T]):
    """What is known of at most `most` things, each until its time is over; beyond that the oldest is forgotten."""

    def __init__(self, most: int = 16_384) -> None:
        self._most = most
        self._known: OrderedDict[Hashable, tuple[_T, float]] = OrderedDict()

    def keep(self, thing: Hashable, known: _T, seconds: float) -> None:
        """This holds for so long from now on."""
        self._known[thing] = (known, time.monotonic() + seconds)
        self._known.move_to_end(thing)
        if len(self._known) > self._most:
            self._known.popitem(last=False)

    def get(self, thing: Hashable) -> _T | None:
        """What is known of it; None if that holds no longer."""
        found = self._known.get(thing)
        return found[0] if found is not None and time.monotonic() < found[1] else None

    def forget(self, thing: Hashable) -> None:
        """It holds no longer."""
        self._known.pop(thing, None)

    def __contains__(self, thing: Hashable) -> bool:
        return self.get(thing) is not None
