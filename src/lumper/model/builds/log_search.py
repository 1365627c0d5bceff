"""Looking for a text in the lines of a log, as model/builds/log.py writes them. Pure.

Lines are not parsed: the text that is looked for is written as it would stand in them, a whole block of them is
searched at once, only a block that has it is looked at line by line, and only in doubt a line is read.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from lumper.errors import Invalid
from lumper.model.builds.log import quoted

LONGEST_QUERY = 500  # characters

# No text has these: quotation marks are escaped there.
_PRINTED = re.compile(rb'\{"s":(\d+),"o":')
_TEXT = b',"x":"'
_END = b'","t":'
# An escaped backslash comes first, so that what follows it is not taken for an escape. All begin with the same
# character: the others are passed over quickly.
_UNSEEN = re.compile(
    rb"\\(?:(\\)|u001b(?:\[[0-?]*[ -/]*[@-~]|\](?:[^\\\n\"]|\\[^u])*(?:\\u0007|\\u001b\\\\))|u00(?:[01][0-9a-f]|7f))"
)
_ESCAPED = re.compile(rb"\\(?:(\\)|u([0-9a-f]{4}))")


@dataclass(frozen=True)
class Hit:
    """A line that has the text: `line` counts from 1 within its step; `record` is the line of the log."""

    step: int
    line: int
    record: bytes


class LogSearch:
    """One search through one log, block after block: plain text, which colours may be within.

    `exact`: capital letters count. Raises Invalid for a text that is empty, too long, or of several lines.
    """

    def __init__(self, query: str, *, exact: bool = False) -> None:
        if not query or len(query) > LONGEST_QUERY or "\n" in query:
            raise Invalid(f"What is looked for must be one line of 1 to {LONGEST_QUERY} characters.")
        self._exact = exact
        self._beyond_ascii = not query.isascii()
        self._query = query if exact else query.lower()
        self._needle = quoted(self._query)[1:-1].encode("ascii")
        self._lines: Counter[bytes] = Counter()

    def look(self, block: bytes) -> Iterator[Hit]:
        """The hits in some whole lines, which follow those of the call before."""
        folded = self._folded(block)
        if self._needle not in folded:
            self._lines.update(_PRINTED.findall(block))
            return
        records = block.split(b"\n")
        for number, line in enumerate(folded.split(b"\n")):
            head, is_output, rest = line.partition(_TEXT)
            printed = _PRINTED.match(head) if is_output else None
            if printed is None:
                continue
            step = printed[1]
            self._lines[step] += 1
            if self._is_in(rest[: rest.rfind(_END)]):
                yield Hit(int(step), self._lines[step], records[number])

    def _is_in(self, text: bytes) -> bool:
        if self._needle not in text:
            return False
        if b"\\" not in text:
            return True
        try:  # it may stand within an escape only, as the t of a tab's does
            return self._query in json.loads(b'"%s"' % text)
        except ValueError:  # a damaged line
            return False

    def _folded(self, block: bytes) -> bytes:
        """The block with small letters, and without what a terminal does not show."""
        if b"\\u00" in block:
            block = _UNSEEN.sub(lambda escape: escape[0] if escape[1] else b"", block)
        if self._exact:
            return block
        if self._beyond_ascii:
            block = _ESCAPED.sub(_lower, block)
        return block.lower()


def _lower(escape: re.Match[bytes]) -> bytes:
    return escape[0] if escape[1] else quoted(chr(int(escape[2], 16)).lower())[1:-1].encode("ascii")
