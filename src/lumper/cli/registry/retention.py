"""`lumper registry retention`: what the rules do with every tag, or would do, told as it comes."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from json import dumps, loads
from typing import Any

from lumper.cli.client import Target, connect
from lumper.cli.output import Json, table
from lumper.errors import ServerUnreachable, StorageError

_TOGETHER = 1000  # rows of one table: there may be a million
_HERE = Target()


def retention(
    *, dry_run: bool = False, repository: str = "", kept: bool = False, json: Json = False, target: Target = _HERE
) -> None:
    """Remove the tags that no rule keeps, as the server does before each collection, and tell why.

    Example: lumper registry retention --dry-run

    Parameters
    ----------
    dry_run
        Remove nothing; show every tag, also those that stay, and why.
    repository
        A glob: only in repositories that fit it.
    kept
        Show also the tags that stay.
    """
    with connect(target) as client:
        told = Told(client.lines("registry/retention", method="GET" if dry_run else "POST", repositories=repository))
        if json:
            _as_json(told)
            return
        _as_tables(told, everything=dry_run or kept)
    print(f"\n{told.done['removed']} {'would be' if dry_run else 'were'} removed, {told.done['kept']} stay.")


class Told:
    """The verdicts that the server tells, one after the other; `done` has the sums after the last one."""

    def __init__(self, lines: Iterable[bytes]) -> None:
        self._lines = lines
        self.done: dict[str, int] = {}

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Raises StorageError, ServerUnreachable if the server did not come to the end."""
        for line in self._lines:
            told = loads(line)
            if "error" in told:
                raise StorageError(told["error"], hint=told["hint"])
            self.done = told.get("done", self.done)
            if "tag" in told:
                yield told["tag"]
        if not self.done:
            raise ServerUnreachable("The server ended before all tags were judged.", hint="Start it and try again.")


def _as_json(told: Told) -> None:
    comma = ""
    sys.stdout.write('{"tags": [')
    for tag in told:
        sys.stdout.write(f"{comma}\n  {dumps(tag, ensure_ascii=False)}")
        comma = ","
    sys.stdout.write(f'\n], "kept": {told.done["kept"]}, "removed": {told.done["removed"]}}}\n')


def _as_tables(told: Told, *, everything: bool) -> None:
    shown = (
        (f"{tag['repository']}:{tag['tag']}", "stays" if tag["kept"] else "goes", str(tag["why"]))
        for tag in told
        if everything or not tag["kept"]
    )
    columns, some = ("tag", "verdict", "why"), False
    while rows := list(islice(shown, _TOGETHER)):
        table(columns, rows, empty="")
        some = True
    if not some:
        print("No tag goes." if told.done["kept"] else "No rule says what is kept of any tag there is.")
