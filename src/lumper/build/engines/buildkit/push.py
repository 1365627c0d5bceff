"""What the Engine tells during a push, read to steps, lines and the result. Pure but for the clock that it is given."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from lumper.build.engines.registry_words import push_error
from lumper.build.port import Pushed
from lumper.errors import LumperError
from lumper.model.build import Output, Progress, Step, StepState

_PUSHED = re.compile(r": digest: (sha\d+:[0-9a-f]+) size: (\d+)$")
FIRST_PUSH = 1001
"""Steps of pushes are numbered from here, apart from those of the build whose log they share."""

_PASSING = ("Preparing", "Waiting", "Pushing", "Retrying")


class PushReader:
    """Follows one push: one step, with a line for the final state of each layer."""

    def __init__(self, image: str, number: int, report: Callable[[Progress], None], clock: Callable[[], float]) -> None:
        self._image = image
        self._number = number
        self._report = report
        self._clock = clock
        self._pushed: Pushed | None = None
        self._error = ""
        self._tell(StepState.RUNNING)

    def receive(self, message: Mapping[str, Any]) -> None:
        """One JSON object of the Engine's answer."""
        if error := (message.get("errorDetail") or {}).get("message") or message.get("error"):
            self._error = str(error)
        aux = message.get("aux") or {}
        if "Digest" in aux:
            self._pushed = Pushed(str(aux["Digest"]), int(aux.get("Size", 0)))
        status = str(message.get("status", ""))
        if found := _PUSHED.search(status):  # all that an Engine with containerd's image store tells
            self._pushed = Pushed(found[1], int(found[2]))
        if message.get("id") and status and not status.startswith(_PASSING):
            self._report(Output(self._number, 1, self._clock(), f"{message['id']}: {status}"))

    def result(self) -> Pushed:
        """The manifest that was pushed. Raises PushFailed."""
        if self._error or self._pushed is None:
            raise push_error(self._image, self._error or "the engine told no digest")
        self._tell(StepState.DONE)
        return self._pushed

    def fail(self, state: StepState, error: str = "") -> None:
        """End the step otherwise."""
        self._tell(state, error)

    def _tell(self, state: StepState, error: str = "") -> None:
        self._report(Step(self._number, f"push {self._image}", state, self._clock(), error))


@contextmanager
def told(reader: PushReader) -> Iterator[None]:
    """End the push's step however the block ends."""
    try:
        yield
    except LumperError as exc:
        reader.fail(StepState.FAILED, exc.message)
        raise
    except asyncio.CancelledError:
        reader.fail(StepState.CANCELLED)
        raise
