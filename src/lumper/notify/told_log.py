"""What a mail has of a build's log, read piece by piece: a log may be longer than there is memory. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from lumper.model.builds.build import Output, Progress, Step, StepState
from lumper.model.builds.log import from_line, render
from lumper.notify.clean import Excerpt, clean_line

LOG_LIMIT = 10 * 1024 * 1024  # bytes of the attached log; many servers refuse a mail above some 25 MB
_LATEST = 2.0**37  # seconds since the epoch


class ToldLog:
    """Hand it a log, as model/builds/log.py writes it, by `feed` and then `end`; whatever else is in it is shown as
    text.

    `excerpt` is what fits into a mail, `failed` the name of the last step that has failed.
    """

    def __init__(self) -> None:
        self.excerpt = Excerpt((), LOG_LIMIT)
        self.failed = ""
        self.empty = True
        self._names: dict[int, str] = {}
        self._rest: list[bytes] = []  # of a line that has not ended
        self._at = 0.0

    def feed(self, data: bytes) -> None:
        """Take the next bytes. It takes as long as reading what they say."""
        self.empty = self.empty and not data
        first, *others = data.split(b"\n")
        self._rest.append(first)
        if others:
            whole, self._rest = [b"".join(self._rest), *others[:-1]], [others[-1]]
            self._tell(line + b"\n" for line in whole)

    def end(self) -> None:
        """There are no more."""
        if rest := b"".join(self._rest):
            self._tell([rest])
        self._rest = []

    def _tell(self, lines: Iterable[bytes]) -> None:
        self.excerpt.add(render(self._records(lines), self._names, clean_line))

    def _records(self, lines: Iterable[bytes]) -> Iterator[Progress]:
        for line in lines:
            try:
                record = from_line(line)
                self._at = _checked(record).at
            except (ValueError, RecursionError):
                record = Output(0, 0, self._at, line.decode("utf-8", "replace"))  # cut off or not ours: worth reading
            if isinstance(record, Step) and record.state is StepState.FAILED:
                self.failed = record.name
            yield record


def _checked(record: Progress) -> Progress:
    texts = (record.name, record.error) if isinstance(record, Step) else (record.text,)
    good = all(isinstance(text, str) for text in texts) and isinstance(record.at, int | float)
    if not good or not 0 <= record.at < _LATEST:
        raise ValueError("a field of another type")
    return record
