"""A push as one step in the log of its build, whatever engine does it. Pure but for the clock that it is given."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lumper.errors import LumperError
from lumper.model.builds.build import Output, Progress, Step, StepState

FIRST_PUSH = 1001
"""Steps of pushes are numbered from here, apart from those of the build whose log they share."""


class PushStep:
    """Tells that the push of an image has begun, what is said of it, and how it ends."""

    def __init__(self, image: str, number: int, report: Callable[[Progress], None], clock: Callable[[], float]) -> None:
        self.image = image
        self._number = number
        self._report = report
        self._clock = clock
        self._tell(StepState.RUNNING)

    def say(self, line: str) -> None:
        """A line of its log."""
        self._report(Output(self._number, 1, self._clock(), line))

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """The step ends with the block, and as that does."""
        try:
            yield
        except LumperError as exc:
            self._tell(StepState.FAILED, exc.message)
            raise
        except asyncio.CancelledError:
            self._tell(StepState.CANCELLED)
            raise
        self._tell(StepState.DONE)

    def _tell(self, state: StepState, error: str = "") -> None:
        self._report(Step(self._number, f"push {self.image}", state, self._clock(), error))
