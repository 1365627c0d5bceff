"""Text from outside (logs, tags, names) made fit to be read: no control sequences, bounded, on one line if need be."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from lumper.model.builds.terminal import visible

_BIDI = dict.fromkeys([0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)])  # CVE-2021-42574


def clean_line(text: str, width: int = 20_000) -> str:
    """A line of a log as a terminal would leave it: without escape sequences, and what a bare CR overwrote is gone."""
    if len(text) > 8 * width:
        text = text[: 8 * width] + f" … ({len(text) - 8 * width} more characters)"
    return clip(visible(text.translate(_BIDI)), width)


def one_line(text: str, width: int = 200) -> str:
    """Text for a header or a table cell: printable, and every run of white space is one space."""
    words = clean_line(" ".join(text[: 8 * width].split())).split()
    return clip("".join(c if c.isprintable() else "�" for c in " ".join(words)), width)


def clip(text: str, width: int) -> str:
    """At most `width` characters, the last one an ellipsis if some are left out."""
    return text if len(text) <= width else text[: width - 1] + "…"


class Excerpt:
    """The head and the tail of a text of any length, within `limit` bytes, and how much is left out between them."""

    def __init__(self, lines: Iterable[str], limit: int) -> None:
        self._head: list[bytes] = []
        self._tail: deque[bytes] = deque()
        self._left_out = [0, 0]
        self._room = self._half = limit // 2
        self._tail_size = 0
        self.add(lines)

    def add(self, lines: Iterable[str]) -> None:
        """Go on with these lines."""
        for line in lines:
            data = line.encode("utf-8", "replace") + b"\n"
            if not self._tail and self._room >= len(data):
                self._head.append(data)
                self._room -= len(data)
                continue
            self._room = 0
            self._tail.append(data)
            self._tail_size += len(data)
            while self._tail_size > self._half and len(self._tail) > 1:
                dropped = self._tail.popleft()
                self._tail_size -= len(dropped)
                self._left_out[0] += 1
                self._left_out[1] += len(dropped)

    @property
    def notice(self) -> str:
        """What is left out, for people, or ""."""
        lines, size = self._left_out
        return (
            f"[… {lines:,} lines ({size:,} bytes) are left out here; the whole log is on the page …]" if lines else ""
        )

    def data(self) -> bytes:
        """Head, notice and tail as UTF-8."""
        notice = [f"\n{self.notice}\n\n".encode()] if self.notice else []
        return b"".join([*self._head, *notice, *self._tail])

    def last(self, count: int) -> list[str]:
        """The last lines, without their line ends."""
        lines = list(self._tail)[-count:]
        if len(lines) < count and not self._left_out[0]:
            lines = self._head[len(lines) - count :] + lines
        return [line.decode("utf-8").rstrip("\n") for line in lines]
