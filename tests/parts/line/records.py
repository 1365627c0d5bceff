"""Records of a build's progress, line by line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from lumper.model.builds.build import Output, Progress


def line_by_line(told: Iterable[Progress]) -> Iterator[Progress]:
    """The same records, with each line of what was printed in one of its own."""
    for record in told:
        if isinstance(record, Output):
            yield from (replace(record, text=text) for text in record.text.split("\n"))
        else:
            yield record


def printed(told: Iterable[Progress]) -> list[str]:
    """The lines alone."""
    return [record.text for record in line_by_line(told) if isinstance(record, Output)]
