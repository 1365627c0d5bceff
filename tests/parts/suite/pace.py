"""Limits on what work may cost that hold on slow machines too, and on such that stand still for a while."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

_STEPS = 100_000
_REFERENCE = 0.012  # seconds of CPU time that the steps take on the machine on which the limits were found


_TICK = 0.05  # seconds
_LONGEST_TICK = 1.0  # seconds: what takes longer is no tick of a machine that runs


@contextmanager
def takes_less_than(seconds: float) -> Iterator[None]:
    """The block costs this process less CPU time: on a slower machine, as much more as that is slower."""
    before = slower()
    began = time.process_time()
    yield
    used = time.process_time() - began
    assert used < seconds * max(before, slower()), f"{used:.2f} s of CPU time"


class StandStill:
    """Measures while the block runs for how long this machine has stood still: `seconds`."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._measure, daemon=True)

    def __enter__(self) -> StandStill:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _measure(self) -> None:
        before = time.monotonic()
        while not self._over.wait(_TICK):
            now = time.monotonic()
            self.seconds += max(0.0, now - before - _LONGEST_TICK)
            before = now


@contextmanager
def lasts_less_than(seconds: float) -> Iterator[None]:
    """The block ends within so long, without the time for which the machine stood still; on a slower machine later."""
    before = slower()
    with StandStill() as stood_still:
        began = time.monotonic()
        yield
        lasted = time.monotonic() - began
    lasted -= stood_still.seconds
    assert lasted < seconds * max(before, slower()), f"{lasted:.2f} s"


def slower() -> float:
    """How many times slower this machine is than the one on which the limits were found; 1 for a quicker one."""
    return max(1.0, min(_steps() for _ in range(3)) / _REFERENCE)


def _steps() -> float:
    began = time.process_time()
    text = ""
    for number in range(_STEPS):
        text = f"{number}{text[:9]}"
    return time.process_time() - began
