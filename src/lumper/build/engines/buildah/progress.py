"""From what buildah says to steps and lines of output. Pure but for the clock that it is given."""

from __future__ import annotations

import re
from collections.abc import Callable

from lumper.build.engines.buildah.cache_ids import GIVEN
from lumper.model.builds.build import Output, Progress, Step, StepState

STDOUT, STDERR = 1, 2
LINE_LIMIT = 1024 * 1024
"""A longer line is told in pieces of so many bytes, so that one without an end cannot fill the memory."""

EXPORT = "exporting to image"
"""The name of the step in which the image gets its name, as BuildKit calls it."""

_STEP = re.compile(
    r"(?:\[(?P<platform>[a-z][a-z0-9]*/[^\]\s]+)\] )?(?:\[(?P<stage>\d+)/\d+\] )?STEP (?P<place>\d+/\d+): (?P<text>.*)"
)
_CACHED = re.compile(r"--> Using cache [0-9a-f]+")
_MADE = re.compile(r"--> (?P<id>[0-9a-f]{11,64})|[0-9a-f]{64}|Successfully tagged \S+")
_COMMIT = re.compile(r"(?:\[[^\]]+\] )*COMMIT\b.*")
_UNUSED = re.compile(r"\[Warning\] one or more build args were not consumed: \[(?P<names>.*)\]")
_FETCHING = re.compile(
    r"Trying to pull |Resolved \"|Getting image source signatures|Copying (?:blob|config) sha256:|Writing manifest|"
    r"Storing signatures"
)
"""What it says while it fetches a base image: in all builds the same, and without a word of how far it has come."""

_FROM = re.compile(r"FROM\s+(?:--\S+\s+)*(?P<image>\S+)(?:\s+AS\s+(?P<name>\S+))?\s*", re.IGNORECASE)
_ALWAYS_GIVEN = {"SOURCE_DATE_EPOCH", "TARGETARCH", "TARGETOS", "TARGETPLATFORM", "TARGETVARIANT"}
_NOT_STARTED = re.compile(r"^error running container: (?P<why>.*)", re.MULTILINE)


class StepReader:
    """Follows one build, whose steps buildah executes one after the other.

    `error` is what buildah says in the end of why it failed, `trouble` why a program of a RUN step could not even be
    started; `step` is the step under way.
    """

    def __init__(self, report: Callable[[Progress], None], clock: Callable[[], float]) -> None:
        self._report = report
        self._clock = clock
        self._partial: dict[tuple[bool, int], bytes] = {}
        self._stages: dict[str, str] = {}
        self._stage = ""
        self.step = Step(0, "", StepState.DONE, 0.0)
        self.error = ""
        self.trouble = ""

    def hear(self, own: bool, stream: int, data: bytes) -> None:
        """Something was said; `own`: by buildah itself, not by a program in a RUN step."""
        whole, end, rest = (self._partial.pop((own, stream), b"") + data).rpartition(b"\n")
        if end:
            self._lines(own, stream, whole)
        while len(rest) > LINE_LIMIT:
            cut = next((i for i in range(LINE_LIMIT, LINE_LIMIT - 4, -1) if rest[i] & 0xC0 != 0x80), LINE_LIMIT)
            self._lines(own, stream, rest[:cut])
            rest = rest[cut:]
        if rest:
            self._partial[own, stream] = rest

    def remark(self, text: str) -> None:
        """Say something ourselves."""
        self._report(Output(self.step.number, 0, self._clock(), text))

    def finish(self, state: StepState, error: str = "") -> None:
        """Nothing more is said: end the step under way."""
        self._flush()
        for stream in (STDOUT, STDERR):
            if held := self._partial.pop((True, stream), b""):
                self._lines(True, stream, held)
        self._end(state, error)

    def _flush(self) -> None:
        """Tell what a program of a RUN step said last, without an end of line."""
        for stream in (STDOUT, STDERR):
            if held := self._partial.pop((False, stream), b""):
                self._lines(False, stream, held)

    def _lines(self, own: bool, stream: int, said: bytes) -> None:
        """Whole lines: those of a program are one record, as they came; buildah's own mean something each."""
        text = said.decode("utf-8", "replace").replace("\r\n", "\n").removesuffix("\r")
        if not own:
            if match := _NOT_STARTED.search(text):
                self.trouble = match["why"]
            self._say(stream, text)
            return
        for line in text.split("\n"):
            if stream == STDERR:
                self._complain(line)
            else:
                self._announce(line)

    def _complain(self, text: str) -> None:
        if self.error:  # goes on in the next line; behind a panic, places in its own source do
            self.error += "" if self.error.startswith("panic: ") else f"\n{text}"
        elif text.startswith(("Error: ", "panic: ")):
            self.error = text.removeprefix("Error: ")
        elif _FETCHING.match(text):
            pass
        elif match := _UNUSED.fullmatch(text):
            self._unused(match["names"].split())
        else:
            self._say(STDERR, text)

    def _announce(self, text: str) -> None:
        if match := _STEP.fullmatch(text):
            self._begin(match)
        elif _CACHED.fullmatch(text):
            self._end(StepState.CACHED)
        elif match := _MADE.fullmatch(text):
            if match["id"]:
                self._stages[match["id"][:11]] = self._stage
        elif _COMMIT.fullmatch(text):
            self._next(EXPORT)
        elif match := _UNUSED.fullmatch(text):
            self._unused(match["names"].split())
        else:
            self._say(STDOUT, text)

    def _begin(self, match: re.Match[str]) -> None:
        text = GIVEN.sub("", match["text"].strip())
        if found := _FROM.fullmatch(text):
            number = f"stage-{int(match['stage']) - 1}" if match["stage"] else ""
            self._stage = found["name"] or number
            image = found["image"]
            if known := len(image) == 64 and self._stages.get(image[:11]):  # an earlier stage, which it calls by its id
                text = text.replace(image, known)
        stage = self._stage if match["stage"] else ""
        name = " ".join(word for word in (match["platform"], stage, match["place"]) if word)
        self._next(f"[{name}] {text}")

    def _next(self, name: str) -> None:
        self._flush()
        self._end(StepState.DONE)
        self.trouble = ""
        self.step = Step(self.step.number + 1, name, StepState.RUNNING, self._clock())
        self._report(self.step)

    def _end(self, state: StepState, error: str = "") -> None:
        if self.step.state is StepState.RUNNING:
            self.step = Step(self.step.number, self.step.name, state, self._clock(), error)
            self._report(self.step)

    def _unused(self, names: list[str]) -> None:
        """Arguments that a Dockerfile does not declare; those that every build is given are no news."""
        if told := [name for name in names if name not in _ALWAYS_GIVEN]:
            self._say(STDERR, f"These build arguments are declared by no ARG: {', '.join(told)}")

    def _say(self, stream: int, text: str) -> None:
        self._report(Output(self.step.number, stream, self._clock(), text))
