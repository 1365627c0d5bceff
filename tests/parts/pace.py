"""Limits on what work may cost that hold on slow machines too, and on such that stand still for a while."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

_STEPS = 100_000
_REFERENCE = 0.012  # seconds of CPU time that the steps take on the machine on which the limits were found


@contextmanager
def takes_less_than(seconds: float) -> Iterator[None]:
    """The block costs this process less CPU time: on a slower machine, as much more as that is slower."""
    before = slower()
    began = time.process_time()
    yield
    used = time.process_time() - began
    assert used < seconds * max(before, slower()), f"{used:.2f} s of CPU time"


def slower() -> float:
    """How many times slower this machine is than the one on which the limits were found; 1 for a quicker one."""
    return max(1.0, min(_steps() for _ in range(3)) / _REFERENCE)


def _steps() -> float:
    began = time.process_time()
    text = ""
    for number in range(_STEPS):
        text = f"{number}{text[:9]}"
    return time.process_time() - began
