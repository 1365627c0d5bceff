"""What buildah says during a push, as one step and its lines. Pure but for the clock that it is given."""

from __future__ import annotations

from collections.abc import Callable

from lumper.build.engines.registry_words import push_error
from lumper.errors import PushFailed
from lumper.model.build import Output, Progress, Step, StepState


class PushReader:
    """Follows one push."""

    def __init__(self, image: str, number: int, report: Callable[[Progress], None], clock: Callable[[], float]) -> None:
        self._image = image
        self._number = number
        self._report = report
        self._clock = clock
        self._partial = b""
        self._error = ""
        self._tell(StepState.RUNNING)

    def hear(self, own: bool, stream: int, data: bytes) -> None:
        """Something was said."""
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            text = line.decode("utf-8", "replace").rstrip()
            if self._error or text.startswith("Error: "):
                self._error += f" {text}" if self._error else text.removeprefix("Error: ")
            else:
                self._report(Output(self._number, 1, self._clock(), text))

    def failure(self, otherwise: str) -> PushFailed:
        """The error of a push that has failed, for this reason if buildah said none."""
        return push_error(self._image, self._error or otherwise)

    def finish(self, state: StepState, error: str = "") -> None:
        """End the step."""
        self._tell(state, error)

    def _tell(self, state: StepState, error: str = "") -> None:
        self._report(Step(self._number, f"push {self._image}", state, self._clock(), error))
