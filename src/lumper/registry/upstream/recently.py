"""What was so a moment ago, and is believed for a while."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Hashable

_REMEMBERED = 16_384


class Recently:
    """Things with a time until which they hold, the oldest forgotten when there are too many."""

    def __init__(self) -> None:
        self._until: OrderedDict[Hashable, float] = OrderedDict()

    def add(self, thing: Hashable, seconds: float) -> None:
        """It holds for so long from now on."""
        self._until[thing] = time.monotonic() + seconds
        self._until.move_to_end(thing)
        if len(self._until) > _REMEMBERED:
            self._until.popitem(last=False)

    def discard(self, thing: Hashable) -> None:
        """It holds no longer."""
        self._until.pop(thing, None)

    def __contains__(self, thing: Hashable) -> bool:
        return time.monotonic() < self._until.get(thing, 0.0)
