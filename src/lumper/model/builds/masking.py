"""Secrets in a build's log become `***` before the log leaves the worker, in whatever form a program prints them.

A form is found by its first four characters: one search over a whole batch of lines tells that there are none of
them, as nearly always; only then the lines are looked at one by one. What may be the beginning of a form at the end of
a line is held back until the next line has shown what it is, so memory is bounded by the longest form.
"""

from __future__ import annotations

import base64
import html
import json
import re
import string
from bisect import bisect_right
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, groupby, pairwise
from operator import itemgetter
from urllib.parse import quote, quote_plus

from lumper.model.builds.build import Output, Progress, Step

MASK = "***"
SHORTEST = 4  # characters; what is shorter stands in every second line by chance
LONGEST = 64 * 1024  # characters of a secret that are looked for
_GRAM = 4  # characters by which a form is found; of a form that a line's end cuts, fewer are shown at most
_PIECE = 1024  # characters; a longer form is looked for in pieces
_SHORTEST_LINE = 8  # characters of one line of a secret of several lines, which is a secret too
_MOST_HELD = 256  # lines

# What a terminal does not show as a character, and line ends, may stand within a secret (ECMA-48, section 5.4).
# Written so that every match begins with one of a set of characters: others are passed over quickly.
_SEQUENCE = (
    r"(?:(?<=\x1b)(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c|(?=\x1b))|[ -/]*[0-~]?)"
    r"|(?<=\x9b)[0-?]*[ -/]*[@-~]|(?<=[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c|(?=\x1b)))?"
)
_FORMAT = "\x7f-\x9f\xad\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff"  # zero-width, and directions
_UNSEEN = re.compile(rf"[\x00-\x08\n-\x1f{_FORMAT}]" + _SEQUENCE)
_UNSEEN_IN_LINES = re.compile(rf"[\x00-\x08\x0b-\x1f{_FORMAT}]" + _SEQUENCE)  # where line ends are dealt with apart
_COMMON = "ABCDEFGHIJKLMNOPQRSTUVWXYZ987654321_:-0/.wvkygbpmfhudcxlsnraoite ="
"""The characters of logs, roughly from the rare to the frequent."""
_BASE64 = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_")


@dataclass(frozen=True)
class _Form:
    """A text to look for. Its neighbours in base64 can hold some of its bits: they are hidden with it."""

    text: str
    before: bool = False
    after: bool = False

    def around(self, text: str, start: int) -> tuple[int, int]:
        """What to hide of `text`, in which the form stands at `start`."""
        end = start + len(self.text)
        if self.before and start and text[start - 1] in _BASE64:
            start -= 1
        if self.after:
            end += text[end : end + 1] in _BASE64
            while text[end : end + 1] == "=":
                end += 1
        return start, end


@dataclass
class _Stream:
    """What is known of one stream of one step. Positions are in the text without what is not seen."""

    tail: str = ""  # the last characters that were passed on, fewer than a gram
    held: list[tuple[float, str]] = field(default_factory=list)  # lines with their times
    covered: int = 0  # characters at the beginning of what is held that are hidden in any case


class _Search:
    """Expressions for many texts. `grams` finds the beginning of each, wherever it stands."""

    def __init__(self, texts: list[str]) -> None:
        self.grams = _any_of({text[:_GRAM] for text in texts})
        self._rare = _any_of({_rarest(text) for text in texts})
        self._longest = max(map(len, texts), default=0)

    def may_hold(self, text: str) -> bool:
        """False if none of the texts is in this one, and none begins at its end: several times as quick as `grams`."""
        if self._rare.search(text):
            return True
        return self.grams.search(text, max(0, len(text) - self._longest)) is not None


class Masker:
    """The secrets of one attempt; more may come while it runs.

    Of a form that a line's end cuts behind its first one to three characters, these are shown, the rest is not.
    """

    def __init__(self, secrets: Iterable[str | bytes] = ()) -> None:
        self._forms: dict[str, dict[str, _Form]] = defaultdict(dict)
        self._search: _Search | None = None  # made when it is needed: secrets come several at once
        self._streams: dict[tuple[int, int], _Stream] = defaultdict(_Stream)
        for secret in secrets:
            self.add(secret)

    def add(self, secret: str | bytes, name: str = "a secret") -> str:
        """Hide this secret from now on. Returns "", or a sentence that tells why not, or not all, of it is hidden."""
        text = secret if isinstance(secret, str) else secret.decode("utf-8", "replace")
        if len(_UNSEEN.sub("", text).strip(string.whitespace)) < SHORTEST:  # the white space that _parts strips
            return f"{name} has fewer than {SHORTEST} characters: it is not masked in the log." if text else ""
        whole = secret if isinstance(secret, bytes) else secret.encode("utf-8", "surrogateescape")
        for part in _parts(whole[:LONGEST]):
            for form in _forms(part):
                self._forms[form.text[:_GRAM]].setdefault(form.text, form)
        self._search = None
        long = f"Of {name} only the first {LONGEST:,} bytes are masked in the log."
        return long if len(whole) > LONGEST else ""

    def mask(self, text: str) -> str:
        """The text of an error, a name, a hint."""
        text = self._plain(text)
        intervals, _ = self._find(_UNSEEN.sub("", text))
        return _hide(text, intervals, _positions(text)) if intervals else text

    def _plain(self, text: str) -> str:
        """The text without forms that stand in it as they are, also where a terminal would not show them."""
        intervals, _ = self._find(text)
        return _hide(text, intervals, range(len(text))) if intervals else text

    def feed(self, records: Sequence[Progress]) -> list[Progress]:
        """The records as they may be shown. The last lines of a stream may be held back."""
        if not self._forms or self._clean(records):
            return list(records)
        return [passed for record in records for passed in self._one(record)]

    def finish(self) -> list[Progress]:
        """Nothing more comes: what was held back."""
        return [passed for key in self._streams for passed in self._release(key, True)]

    def _clean(self, records: Sequence[Progress]) -> bool:
        """Whether nothing in these records is a form or its beginning; then the streams go on behind them."""
        texts: dict[tuple[int, int], list[str]] = defaultdict(list)
        for record in records:
            if isinstance(record, Step):
                return False
            texts[record.number, record.stream].append(record.text)
        ends = {}
        for key, parts in texts.items():
            stream = self._streams[key]
            text = "\n".join(parts)
            seen = stream.tail + text.replace("\n", "")
            if stream.held or stream.covered or self._may_hold(seen):
                return False
            if _UNSEEN_IN_LINES.search(text):
                seen = stream.tail + _UNSEEN_IN_LINES.sub("", text).replace("\n", "")
                if self._may_hold(seen):
                    return False
            ends[key] = seen[1 - _GRAM :]
        for key, tail in ends.items():
            self._streams[key].tail = tail
        return True

    def _may_hold(self, text: str) -> bool:
        """Whether a form stands in the text or may begin at its end."""
        if not self._patterns.may_hold(text):
            return False
        found, begun = self._find(text)
        return bool(found) or begun is not None

    @property
    def _patterns(self) -> _Search:
        if self._search is None:
            self._search = _Search([form for forms in self._forms.values() for form in forms])
        return self._search

    def _one(self, record: Progress) -> Iterator[Progress]:
        if isinstance(record, Step):
            for key in [key for key in self._streams if key[0] == record.number]:
                yield from self._release(key, True)
            yield replace(record, name=self.mask(record.name), error=self.mask(record.error))
        elif self._clean([record]):
            yield record
        else:
            key = (record.number, record.stream)
            self._streams[key].held += [(record.at, self._plain(line)) for line in record.text.split("\n")]
            yield from self._release(key, False)

    def _release(self, key: tuple[int, int], everything: bool) -> Iterator[Output]:
        """The lines that are held, up to the one in which a form may have begun, with what was found hidden."""
        stream = self._streams[key]
        texts = [_UNSEEN.sub("", text) for _, text in stream.held]
        seen = stream.tail + "".join(texts)
        edges = list(accumulate(map(len, texts), initial=len(stream.tail)))
        found, begun = self._find(seen)
        count = len(texts)
        if begun is not None and not everything:
            first = min(max(bisect_right(edges, begun) - 1, 0), count - 1)
            count = first if count - first < _MOST_HELD else count
        if stream.covered:
            found = [(edges[0], edges[0] + stream.covered), *found]
        shown = _hidden(stream.held[:count], edges, found)
        stream.covered = max([0, *(b - edges[count] for a, b in found if a < edges[count])])
        stream.tail = seen[: edges[count]][1 - _GRAM :]
        del stream.held[:count]
        for at, lines in groupby(shown, key=itemgetter(0)):
            yield Output(*key, at, "\n".join(text for _, text in lines))

    def _find(self, text: str) -> tuple[list[tuple[int, int]], int | None]:
        """Where forms stand, and where the first one begins that the end of the text cuts."""
        found: list[tuple[int, int]] = []
        begun = None
        grams = self._patterns.grams
        match = grams.search(text)
        while match:
            at = match.start()
            for form in self._forms[match[0]].values():
                if text.startswith(form.text, at):
                    found.append(form.around(text, at))
                elif begun is None and len(text) - at < len(form.text) and form.text.startswith(text[at:]):
                    begun = at
            match = grams.search(text, at + 1)
        return found, begun


def _hidden(
    lines: list[tuple[float, str]], edges: list[int], found: list[tuple[int, int]]
) -> Iterator[tuple[float, str]]:
    """The lines with what was found hidden. `edges` are where each begins, in what is seen of them all."""
    intervals = deque(_joined(found))
    for (at, text), (start, end) in zip(lines, pairwise(edges), strict=False):
        while intervals and intervals[0][1] <= start:
            intervals.popleft()
        inside = []
        for first, last in intervals:
            if first >= end:
                break
            inside.append((max(first, start) - start, min(last, end) - start))
        yield at, _hide(text, inside, _positions(text)) if inside and start < end else text


def _hide(text: str, intervals: list[tuple[int, int]], where: Sequence[int]) -> str:
    """The text with MASK in place of these intervals; `where` is the place of each character that they count."""
    parts, at = [], 0
    for start, end in _joined(intervals):
        parts += [text[at : where[start]], MASK]
        at = where[end - 1] + 1
    return "".join([*parts, text[at:]])


def _positions(text: str) -> Sequence[int]:
    """Where each character that is seen stands in the text."""
    where: list[int] = []
    at = 0
    for match in _UNSEEN.finditer(text):
        where += range(at, match.start())
        at = match.end()
    return [*where, *range(at, len(text))] if where or at else range(len(text))


def _joined(intervals: list[tuple[int, int]]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for start, end in sorted(intervals):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def _parts(secret: bytes) -> set[bytes]:
    """The secret itself, without white space around it, and its lines if it has several."""
    lines = {line.strip() for line in secret.splitlines()}
    return {secret.strip()} | {line for line in lines if len(line) >= _SHORTEST_LINE}


def _forms(secret: bytes) -> Iterator[_Form]:
    """All forms of a secret, each once or more, in pieces if it is long."""
    for text in _written(secret):
        yield from (_Form(piece) for piece in _pieces(_UNSEEN.sub("", text)))
    for skipped in range(3):
        for spelt in (base64.b64encode, base64.urlsafe_b64encode):
            yield from _base64(spelt(bytes(skipped) + secret).decode(), skipped, len(secret))


def _written(secret: bytes) -> Iterator[str]:
    text = secret.decode("utf-8", "replace")
    yield text
    for quoted in (quote(secret, safe=""), quote(secret), quote_plus(secret)):
        yield quoted
        yield re.sub("%..", lambda match: match[0].lower(), quoted)
    for escaped in (json.dumps(text), json.dumps(text, ensure_ascii=False)):
        yield escaped[1:-1]
        yield escaped[1:-1].replace("/", "\\/")
    yield html.escape(text)
    yield secret.hex()
    yield secret.hex().upper()


def _base64(encoded: str, skipped: int, size: int) -> Iterator[_Form]:
    """Those characters that only the secret decides, `skipped` bytes behind the beginning of a group of three."""
    first, end = -(-skipped * 8 // 6), (skipped + size) * 8 // 6
    pieces = list(_pieces(encoded[first:end]))
    for piece in pieces:
        yield _Form(piece, before=skipped > 0 and piece is pieces[0], after=piece is pieces[-1])


def _pieces(text: str) -> Iterator[str]:
    """The text, or parts of it of at least SHORTEST characters that together are it."""
    while len(text) > _PIECE + SHORTEST:
        yield text[:_PIECE]
        text = text[_PIECE:]
    if len(text) >= SHORTEST:
        yield text


def _rarest(text: str) -> str:
    """That gram of the text whose first character stands in logs least often: most of a log is passed over by it."""
    places = range(len(text) - _GRAM + 1)
    at = min(places, key=lambda i: (_COMMON.find(text[i]), i))
    return text[at : at + _GRAM]


def _any_of(grams: Iterable[str]) -> re.Pattern[str]:
    """An expression for one of these texts of equal length."""
    return re.compile(_branches(sorted(grams)) or "(?!)")


def _branches(texts: list[str]) -> str:
    """So written that each character is looked at once."""
    after: dict[str, list[str]] = defaultdict(list)
    for text in texts:
        after[text[0]].append(text[1:])
    branches = [re.escape(first) + (_branches(rest) if rest[0] else "") for first, rest in after.items()]
    return f"(?:{'|'.join(branches)})" if branches else ""
