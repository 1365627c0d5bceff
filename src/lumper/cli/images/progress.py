"""How far a copy is: a bar for every blob on a terminal, nothing elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lumper.cli.output import plain


class Quiet:
    """Says nothing."""

    def found(self, digest: str, size: int) -> None:
        """A blob belongs to the image."""

    def went(self, digest: str, count: int) -> None:
        """Some of its bytes were sent."""

    def done(self, digest: str, how: str) -> None:
        """It is there."""

    def line(self, text: str) -> None:
        """Something that is worth a line."""


class Bars(Quiet):
    """A bar for each blob that is sent."""

    def __init__(self, progress: Any) -> None:
        self._progress = progress
        self._tasks: dict[str, Any] = {}
        self._sizes: dict[str, int] = {}

    def found(self, digest: str, size: int) -> None:
        """A blob belongs to the image; it gets a bar when its first byte goes."""
        self._sizes[digest] = size

    def went(self, digest: str, count: int) -> None:
        """Some of its bytes were sent."""
        if digest not in self._tasks:
            total = self._sizes.get(digest)
            self._tasks[digest] = self._progress.add_task(digest.partition(":")[2][:12], total=total)
        self._progress.update(self._tasks[digest], advance=count)

    def done(self, digest: str, how: str) -> None:
        """Its bar goes."""
        if (task := self._tasks.pop(digest, None)) is not None:
            self._progress.remove_task(task)
        self.line(f"{digest.partition(':')[2][:12]} {how}")

    def line(self, text: str) -> None:
        """Something that is worth a line above the bars."""
        from rich.text import Text  # it is there already

        self._progress.console.print(Text(plain(text)))


@contextmanager
def watching(*, quiet: bool = False) -> Iterator[Quiet]:
    """Bars on standard error, if that is a terminal."""
    if quiet or not sys.stderr.isatty():
        yield Quiet()
        return
    from rich.console import Console  # slow to import
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield Bars(progress)
