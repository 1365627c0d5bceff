"""What buildah says during a push, as one step and its lines. Pure but for the clock that it is given."""

from __future__ import annotations

from collections.abc import Callable

from lumper.build.engines.push_step import PushStep
from lumper.build.engines.registry_words import push_error
from lumper.errors import PushFailed
from lumper.model.builds.build import Progress


class PushReader(PushStep):
    """Follows one push."""

    def __init__(self, image: str, number: int, report: Callable[[Progress], None], clock: Callable[[], float]) -> None:
        super().__init__(image, number, report, clock)
        self._partial = b""
        self._error = ""

    def hear(self, own: bool, stream: int, data: bytes) -> None:
        """Something was said."""
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            text = line.decode("utf-8", "replace").rstrip()
            if self._error or text.startswith("Error: "):
                self._error += f" {text}" if self._error else text.removeprefix("Error: ")
            else:
                self.say(text)

    def failure(self, otherwise: str) -> PushFailed:
        """The error of a push that has failed, for this reason if buildah said none."""
        return push_error(self.image, self._error or otherwise)
