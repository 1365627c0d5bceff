"""What the Engine tells during a push, read to steps, lines and the result. Pure but for the clock that it is given."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from lumper.build.engines.push_step import PushStep
from lumper.build.engines.registry_words import push_error
from lumper.build.port import Pushed
from lumper.model.builds.build import Progress

_PUSHED = re.compile(r": digest: (sha\d+:[0-9a-f]+) size: (\d+)$")
_PASSING = ("Preparing", "Waiting", "Pushing", "Retrying")


class PushReader(PushStep):
    """Follows one push: a line tells the final state of each layer."""

    def __init__(self, image: str, number: int, report: Callable[[Progress], None], clock: Callable[[], float]) -> None:
        super().__init__(image, number, report, clock)
        self._pushed: Pushed | None = None
        self._error = ""

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
            self.say(f"{message['id']}: {status}")

    def result(self) -> Pushed:
        """The manifest that was pushed. Raises PushFailed."""
        if self._error or self._pushed is None:
            raise push_error(self.image, self._error or "the engine told no digest")
        return self._pushed
