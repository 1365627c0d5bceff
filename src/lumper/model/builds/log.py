"""The format of a build's log: one JSON object a line.

    {"s": 3, "n": "[2/4] RUN make", "st": "running", "t": 1732440000.1}      a step began or changed (`e`: its error)
    {"s": 3, "o": 1, "x": "cc -c main.c", "t": 1732440000.2}                 a line that it printed

What is printed at once comes in one record; in the log, and in what is read back, each line is one. Lines are never
clipped here. A reader that finds a field it does not know passes over it.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime

from lumper.errors import Invalid
from lumper.model.builds.build import Output, Progress, Step, StepState

LARGEST_CHUNK = 1024 * 1024
"""Bytes of a log that travel in one message."""

quoted = json.encoder.encode_basestring_ascii
"""A text as JSON has it, in ASCII, with its quotation marks."""


def to_line(record: Progress) -> str:
    """One record as lines of JSON with their ends, in ASCII: characters and bytes are the same number."""
    if isinstance(record, Step):
        fields: dict[str, object] = {"s": record.number, "n": record.name, "st": record.state.value, "t": record.at}
        if record.error:
            fields["e"] = record.error
        return json.dumps(fields, separators=(",", ":")) + "\n"
    # By hand, because there may be a million of them: ten times as quick as json.dumps.
    before, after = f'{{"s":{record.number},"o":{record.stream},"x":', f',"t":{record.at!r}}}\n'
    return before + (after + before).join(map(quoted, record.text.split("\n"))) + after


def from_line(line: str | bytes) -> Progress:
    """Read one line back. Raises ValueError for anything that `to_line` has not written."""
    try:
        fields = json.loads(line)
        if "st" in fields:
            return Step(fields["s"], fields["n"], StepState(fields["st"]), fields["t"], fields.get("e", ""))
        return Output(fields["s"], fields["o"], fields["t"], fields["x"])
    except (KeyError, TypeError) as exc:
        raise ValueError(f"not a line of a build log: {line!r:.80}") from exc


def pack(chunk: bytes) -> str:
    """A chunk of a log as it travels. JSON in JSON would be ten times as long, and no quicker to write and read."""
    return base64.b64encode(zlib.compress(chunk, 1)).decode("ascii")


def unpack(data: str) -> bytes:
    """A chunk of at most LARGEST_CHUNK bytes. Raises Invalid for anything that `pack` has not made of one."""
    try:
        inflating = zlib.decompressobj()
        chunk = inflating.decompress(base64.b64decode(data, validate=True), LARGEST_CHUNK)
    except (ValueError, zlib.error) as exc:
        raise Invalid(f"This is no chunk of a log: {exc}.") from exc
    if not inflating.eof:
        raise Invalid(f"This is no chunk of a log: it is cut off, or has more than {LARGEST_CHUNK:,} bytes.")
    return chunk


def render(
    records: Iterable[Progress], names: dict[int, str] | None = None, shown: Callable[[str], str] = str
) -> Iterator[str]:
    """The log as plain text lines, as a terminal, a mail and a download show it.

    A log that is rendered in parts passes the same dict of the steps' `names`, empty at first, with each part. `shown`
    makes of each line, name and error what people see: what is printed may have sequences for a terminal in it.
    """
    names = {} if names is None else names
    second, clock = None, ""
    for record in records:
        if second != int(record.at):  # mostly it is the same one as before
            second = int(record.at)
            clock = datetime.fromtimestamp(second, UTC).strftime("%H:%M:%S")
        if isinstance(record, Output):
            for line in record.text.split("\n"):
                yield f"{clock}  #{record.number} {shown(line)}"
        elif record.number not in names or record.state is not StepState.RUNNING:
            names[record.number] = record.name
            state = "" if record.state is StepState.RUNNING else f" {record.state.value.upper()}"
            error = f": {shown(_joined(record.error))}" if record.error else ""
            yield f"{clock}  #{record.number}{state} {shown(_joined(record.name))}{error}"


def _joined(text: str) -> str:
    """What has several lines, on one."""
    return text.replace("\n", " ")
