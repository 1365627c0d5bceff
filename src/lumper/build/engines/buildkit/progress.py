"""From BuildKit's status messages to steps and lines of output. Pure: no input or output."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from google.protobuf.timestamp_pb2 import Timestamp

from lumper.build.engines.buildkit.proto.control_pb2 import StatusResponse, Vertex, VertexLog, VertexWarning
from lumper.model.builds.build import Output, Progress, Step, StepState

STDOUT, STDERR = 1, 2
FULL = 1024 * 1024
"""Bytes of output in one message, from which on BuildKit goes on in the next one."""
LINE_LIMIT = 1024 * 1024
"""A longer line is told in pieces of so many bytes, so that one without an end cannot fill the memory."""

# At the end only: before it stands the command, which is anybody's text.
_CANCELLED = re.compile(r"context cancell?ed$")


# BuildKit util/progress/logs: how it ends what it tells of a step that prints much or fast.
_CLIPPED = re.compile(r"\[output clipped, log (?:limit|speed) [^]\n]{1,40} reached\]$", re.MULTILINE)
CLIPPED = (
    "The engine itself has left out lines of this step. Start it with BUILDKIT_STEP_LOG_MAX_SIZE=2147483647 and"
    " BUILDKIT_STEP_LOG_MAX_SPEED=2147483647 in its environment, and it tells all of them."
)
"""What the log says behind such a line, in Lumper's own words."""
LOST = "The engine does not tell all of this log: lines are missing here."


_Event = tuple[float, int, Callable[[], None]]
"""When it happened, what comes first of what happened at once, and how to report it."""


@dataclass
class _Known:
    """A vertex of BuildKit's graph. `number` is 0 until the step has something to tell."""

    name: str
    number: int = 0
    state: StepState | None = None
    partial: dict[int, bytearray] = field(default_factory=dict)
    at: float = 0.0


class ProgressReader:
    """Follows one build.

    BuildKit announces the whole graph before it works on it, and may start and complete a vertex more than once (first
    to find its cache key, then to execute it). A step gets its number when it starts, and is told again only when its
    state changes. `messages` is how many have come that tell something.
    """

    def __init__(self, report: Callable[[Progress], None]) -> None:
        self._report = report
        self._known: dict[str, _Known] = {}
        self._numbers = 0
        self._latest = 0.0
        self._waiting: list[_Event] = []
        self.messages = 0
        self.failures: list[Step] = []
        """The steps that failed, the first one first, with BuildKit's own words as their `error`."""

    def receive(self, response: StatusResponse, *, whole: bool | None = None) -> None:
        """Report what one message tells, in the order of the engine's clock.

        `whole` is `is_whole` of the message as it came, if it does not tell all of that any more.
        """
        if response.vertexes or response.logs or response.warnings:
            self.messages += 1
        events = self._waiting
        for vertex in response.vertexes:
            known = self._known.setdefault(vertex.digest, _Known(vertex.name))
            if vertex.HasField("started") and not vertex.cached:
                events.append((seconds(vertex.started), 0, partial(self._start, known, vertex)))
            if vertex.HasField("completed"):
                events.append((seconds(vertex.completed), 2, partial(self._complete, known, vertex)))
        logs: list[_Event] = [(seconds(log.timestamp), 1, partial(self._print, log)) for log in response.logs]
        whole = is_whole(response) if whole is None else whole
        latest = max((at for at, _, _ in logs), default=-math.inf)
        self._happen(events + logs, math.inf if whole or not events else latest)
        for warning in response.warnings:
            self._warn(warning)

    def _happen(self, events: list[_Event], until: float) -> None:
        """Report what happened until then; the rest waits.

        BuildKit cuts a message that has more than 1 MiB of output: that a step has ended stands in the first part of
        it, before lines that it printed.
        """
        events.sort(key=lambda event: event[:2])
        self._waiting = [event for event in events if event[0] > until]
        for at, _, happen in events:
            if at <= until:
                happen()

    @property
    def is_running(self) -> bool:
        """Whether a step has not ended, as far as was told."""
        return bool(self._running())

    def _running(self) -> list[int]:
        return [known.number for known in self._known.values() if known.state is StepState.RUNNING]

    def lose(self) -> None:
        """The engine has not told all: say so."""
        self._report(Output(max([*self._running(), 1]), 0, self._latest, LOST))

    def settle(self) -> None:
        """No part of a message is missing any more."""
        self._happen(self._waiting, math.inf)

    def finish(self) -> None:
        """The engine tells nothing more: report what was held back, and what will never end."""
        self.settle()
        for known in sorted(self._known.values(), key=lambda known: known.number):
            self._flush(known)
            if known.state is StepState.RUNNING:
                self._tell(known, StepState.CANCELLED, known.at)

    def _start(self, known: _Known, vertex: Vertex) -> None:
        if known.state is None or not vertex.HasField("completed"):
            self._tell(known, StepState.RUNNING, seconds(vertex.started))

    def _complete(self, known: _Known, vertex: Vertex) -> None:
        self._flush(known)
        at = seconds(vertex.completed)
        self._latest = max(self._latest, at)
        if _CANCELLED.search(vertex.error):
            self._tell(known, StepState.CANCELLED, at)
        elif vertex.error:
            self._tell(known, StepState.FAILED, at, error=vertex.error)
        else:
            # Some engines tell of a cached step when it was executed, which can be long ago.
            self._tell(known, *((StepState.CACHED, self._latest) if vertex.cached else (StepState.DONE, at)))

    def _tell(self, known: _Known, state: StepState, at: float, *, error: str = "") -> None:
        if known.state is state:
            return
        if not known.number:
            self._numbers += 1
            known.number = self._numbers
        known.state, known.at = state, at
        step = Step(known.number, known.name, state, at, error)
        if state is StepState.FAILED:
            self.failures.append(step)
        self._report(step)

    def _warn(self, warning: VertexWarning) -> None:
        known = self._known.get(warning.vertex)
        if known is not None and known.number:
            text = _text(warning.short)
            self._lines(known, STDERR, known.at, f"{text} ({warning.url})" if warning.url else text)

    def _print(self, log: VertexLog) -> None:
        at = seconds(log.timestamp)
        known = self._known.setdefault(log.vertex, _Known(log.vertex))
        if not known.number:
            self._tell(known, StepState.RUNNING, at)
        known.at = at
        held = known.partial.setdefault(log.stream, bytearray())
        held += log.msg
        if (end := held.rfind(b"\n")) >= 0:
            self._lines(known, log.stream, at, _text(held[:end].replace(b"\r\n", b"\n").removesuffix(b"\r")))
            del held[: end + 1]
        known.partial[log.stream] = self._pieces(known, log.stream, at, held)

    def _pieces(self, known: _Known, stream: int, at: float, rest: bytearray) -> bytearray:
        while len(rest) > LINE_LIMIT:
            end = next((i for i in range(LINE_LIMIT, LINE_LIMIT - 4, -1) if rest[i] & 0xC0 != 0x80), LINE_LIMIT)
            self._lines(known, stream, at, _text(rest[:end]))
            rest = rest[end:]
        return rest

    def _flush(self, known: _Known) -> None:
        for stream, held in sorted(known.partial.items()):
            if held:
                self._lines(known, stream, known.at, _text(held))
        known.partial.clear()

    def _lines(self, known: _Known, stream: int, at: float, text: str) -> None:
        """Lines in one record, but for one behind which something is to be said."""
        begun = 0
        for clipped in _CLIPPED.finditer(text):
            self._report(Output(known.number, stream, at, text[begun : clipped.end()]))
            self._report(Output(known.number, 0, at, CLIPPED))
            begun = clipped.end() + 1
        if begun <= len(text):
            self._report(Output(known.number, stream, at, text[begun:]))


def is_whole(response: StatusResponse) -> bool:
    """Whether no other message has a part of what this one has."""
    return sum(len(log.msg) for log in response.logs) <= FULL and (bool(response.vertexes) or not response.logs)


def seconds(timestamp: Timestamp) -> float:
    """Seconds since the epoch."""
    return timestamp.seconds + timestamp.nanos / 1e9


def _text(line: bytes | bytearray) -> str:
    return line.decode("utf-8", "replace")
