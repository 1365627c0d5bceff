"""What a person sees: tables on a terminal, JSON for programs, errors with what to do next."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, TextIO

from cyclopts import Parameter

Json = Annotated[bool, Parameter(help="Print JSON.")]
"""The option --json of nearly every command."""

_STYLES = {
    "succeeded": "green", "running": "cyan", "healthy": "green", "queued": "yellow", "failed": "red",
    "unhealthy": "red", "exited": "red", "cancelled": "dim",
}  # fmt: skip


def show_json(value: object) -> None:
    """Print a value as JSON."""
    json.dump(value, sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")


def tell(value: object, words: str, *, json: bool) -> None:
    """Print a value as JSON for programs, or say it in words."""
    if json:
        show_json(value)
    else:
        sys.stdout.write(words + "\n")


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, empty: str) -> None:
    """Print rows under headings, if these are not all ""; `empty` is what to say when there are none.

    States are coloured on a terminal.
    """
    if not rows:
        sys.stdout.write(empty + "\n")
        return
    texts = [[plain(cell) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        widths = [max(len(column), *(len(row[i]) for row in texts)) for i, column in enumerate(columns)]
        heads = [[column.upper() for column in columns]] if any(columns) else []
        for row in (*heads, *texts):
            sys.stdout.write(
                "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() + "\n"
            )
        return
    from rich.console import Console  # slow to import
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=None, pad_edge=False, header_style="bold", show_header=any(columns))
    for column in columns:
        grid.add_column(column.upper(), overflow="fold")
    for row in texts:
        grid.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in row))
    Console().print(grid)


def plain(value: object) -> str:
    """A cell as text on one line, with nothing that a terminal would obey."""
    text = "" if value is None else str(value)
    return "".join(c if c.isprintable() else "�" for c in text.replace("\n", " "))


def coloured(stream: TextIO) -> bool:
    """Whether colours may go there: to a terminal that knows them, if nobody has asked for none (no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM", "dumb") != "dumb"


def text_lines(value: str) -> str:
    """Text of several lines, each as `plain` has it."""
    return "\n".join(plain(line) for line in value.replace("\r\n", "\n").split("\n"))


def warn(text: str) -> None:
    """Say something on standard error."""
    sys.stderr.write(text.rstrip() + "\n")


def ago(iso: str | None) -> str:
    """How long ago, in one short word."""
    return f"{_span(max(0.0, -_seconds_to(iso)))} ago" if iso else ""


def until(iso: str | None) -> str:
    """In how long something ends, or that it has; "" for never."""
    if not iso:
        return ""
    seconds = _seconds_to(iso)
    return f"in {_span(seconds)}" if seconds > 0 else f"{_span(-seconds)} ago"


def _seconds_to(iso: str) -> float:
    return (datetime.fromisoformat(iso) - datetime.now(UTC)).total_seconds()


def _span(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def who(actor: dict[str, Any]) -> str:
    """The name of who did something, as the API tells it; a build without a name is one that nobody pushed."""
    return actor["name"] or ("a build" if actor["role"] == "build" else "anyone")


def size(count: int) -> str:
    """Bytes as people write them."""
    number = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if number < 1024 or unit == "GiB":
            break
        number /= 1024
    return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"


def duration(seconds: float | None) -> str:
    """Seconds as people say them."""
    if seconds is None:
        return ""
    return f"{seconds:.1f} s" if seconds < 60 else f"{int(seconds // 60)} min {int(seconds % 60)} s"


def ports(container: dict[str, Any]) -> str:
    """The published ports of a container."""
    return ", ".join(f"{port['address']}:{port['host']}→{port['container']}" for port in container["ports"])
