"""`lumper log`: what a build said, or says."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial
from itertools import groupby
from json import dumps
from operator import itemgetter

from lumper.cli.client import Client, Target, connect
from lumper.cli.output import coloured, warn
from lumper.model.builds.build import Progress
from lumper.model.builds.log import from_line, render
from lumper.model.builds.terminal import visible

_HERE = Target()
_MOST = 10_000  # lines that are found at once


def log(
    build: int,
    /,
    *,
    follow: bool = False,
    attempt: int = 0,
    grep: str = "",
    json: bool = False,
    target: Target = _HERE,
) -> None:
    """Print a build's log, or the lines that have a text; the status is 1 if the build has failed, or no line has it.

    What programs print for a terminal is left out, but for colours on one.

    Example: lumper log 7 --follow

    Parameters
    ----------
    build
        The build's number.
    follow
        Go on until the build has ended.
    attempt
        Which attempt; without it, the last.
    grep
        Print only lines with this text, in capital or small letters: #STEP:LINE before each.
    json
        Print the records as JSON lines.
    """
    with connect(target) as client:
        if grep:
            _search(client, build, attempt, grep, json)
            return
        for number, group in groupby(_lines(client, build, attempt, follow), key=itemgetter(0)):
            if not json and number > (attempt or 1):
                warn(f"Attempt {number} begins.")
            show = _show_json if json else _show_text
            show((line for _, line in group), flush=follow)
        state = _state(client, build)
    if follow and not json:
        print(state["line"])
    if state["state"] == "failed":
        sys.exit(1)


def _search(client: Client, build: int, attempt: int, text: str, json: bool) -> None:
    """Print the lines that have the text, found by the server."""
    found = client.get(f"builds/{build}/log/search", q=text, attempt=attempt or None, limit=_MOST)
    for line in found["lines"]:
        print(dumps(line) if json else f"#{line['step']}:{line['line']} {visible(line['text'])}")
    if more := found["count"] - len(found["lines"]):
        warn(f"{more:,} more lines have it.")
    if not found["whole"]:
        warn("The log is so long that the search was given up before its end.")
    if not found["count"]:
        sys.exit(1)


def _lines(client: Client, build: int, attempt: int, follow: bool) -> Iterator[tuple[int, bytes]]:
    """Lines with the number of their attempt, which is 0 where nobody needs it."""
    if follow:
        return client.follow_log(build, attempt, warn)
    return ((0, line) for line in client.read_log(build, attempt, warn))


def _show_json(lines: Iterator[bytes], *, flush: bool) -> None:
    for line in lines:
        print(line.decode("ascii", "replace"), end="", flush=flush)


def _show_text(lines: Iterator[bytes], *, flush: bool) -> None:
    for text in render(_records(lines), shown=partial(visible, colours=coloured(sys.stdout))):
        print(text, flush=flush)


def _records(lines: Iterator[bytes]) -> Iterator[Progress]:
    for line in lines:
        try:
            yield from_line(line)
        except ValueError:  # a line that is still being written, or of a later version
            continue


def _state(client: Client, build: int) -> dict[str, str]:
    found = client.get(f"builds/{build}")
    ending = found["digest"] or f"{found['error']} {found['hint']}".strip()
    return {"state": found["state"], "line": f"Build {build} {found['state']}: {ending}"}
