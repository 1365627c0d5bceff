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
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, pairwise
from urllib.parse import quote, quote_plus

from lumper.model.build import Output, Progress, Step

MASK = "***"
SHORTEST = 4  # characters; what is shorter stands in every second line by chance
LONGEST = 64 * 1024  # characters of a secret that are looked for
_GRAM = 4  # characters by which a form is found; of a form that a line's end cuts, fewer are shown at most
_PIECE = 1024  # characters; a longer form is looked for in pieces
_SHORTEST_LINE = 8  # characters of one line of a secret of several lines, which is a secret too
_MOST_HELD = 256  # lines
_MANY = 64  # first characters, from which on one expression is quicker than one search for each

# What a terminal does not show as a character, and line ends, may stand within a secret (ECMA-48, section 5.4).
_UNSEEN = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b\n]*(?:\x07|\x1b\\)|\x1b[ -/]*[0-~]?|[\x00-\x08\n-\x1f\x7f]"
)
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
    held: list[Output] = field(default_factory=list)
    covered: int = 0  # characters at the beginning of what is held that are hidden in any case


class Masker:
    """The secrets of one attempt; more may come while it runs.

    Of a form that a line's end cuts behind its first one to three characters, these are shown, the rest is not.
    """

    def __init__(self, secrets: Iterable[str | bytes] = ()) -> None:
        self._forms: dict[str, dict[str, _Form]] = defaultdict(dict)
        self._grams = re.compile(r"(?!)")
        self._streams: dict[tuple[int, int], _Stream] = defaultdict(_Stream)
        for secret in secrets:
            self.add(secret)

    def add(self, secret: str | bytes, name: str = "a secret") -> str:
        """Hide this secret from now on. Returns "", or a sentence that tells why not, or not all, of it is hidden."""
        text = secret if isinstance(secret, str) else secret.decode("utf-8", "replace")
        if len(_UNSEEN.sub("", text).strip()) < SHORTEST:
            return f"{name} has fewer than {SHORTEST} characters: it is not masked in the log." if text else ""
        whole = secret if isinstance(secret, bytes) else secret.encode("utf-8", "surrogateescape")
        for part in _parts(whole[:LONGEST]):
            for form in _forms(part):
                self._forms[form.text[:_GRAM]].setdefault(form.text, form)
        self._grams = re.compile(_any_of(sorted(self._forms)))
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
        """The records as they may be shown. The last ones of a stream may be held back."""
        if not self._forms or self._clean(records):
            return list(records)
        return [passed for record in records for passed in self._one(record)]

    def finish(self) -> list[Progress]:
        """Nothing more comes: what was held back."""
        return [record for stream in self._streams.values() for record in self._release(stream, True)]

    def _clean(self, records: Sequence[Progress]) -> bool:
        """Whether nothing in these records can be a form or its beginning; then the streams go on behind them."""
        texts: dict[tuple[int, int], list[str]] = defaultdict(list)
        for record in records:
            if isinstance(record, Step):
                return False
            texts[record.number, record.stream].append(record.text)
        ends = {}
        for key, lines in texts.items():
            stream = self._streams[key]
            seen = stream.tail + "".join(lines)
            if stream.held or self._may_hold(seen):
                return False
            if _UNSEEN.search(seen):
                seen = stream.tail + "".join([_UNSEEN.sub("", line) for line in lines])
                if self._may_hold(seen):
                    return False
            ends[key] = seen[1 - _GRAM :]
        for key, tail in ends.items():
            self._streams[key].tail = tail
        return True

    def _may_hold(self, text: str) -> bool:
        if len(self._forms) > _MANY:
            return self._grams.search(text) is not None
        return any(gram in text for gram in self._forms)

    def _one(self, record: Progress) -> Iterator[Progress]:
        if isinstance(record, Step):
            for key in [key for key in self._streams if key[0] == record.number]:
                yield from self._release(self._streams[key], True)
            yield replace(record, name=self.mask(record.name), error=self.mask(record.error))
            return
        if _UNSEEN.search(record.text):
            record = replace(record, text=self._plain(record.text))
        stream = self._streams[record.number, record.stream]
        stream.held.append(record)
        yield from self._release(stream, len(stream.held) >= _MOST_HELD)

    def _release(self, stream: _Stream, everything: bool) -> Iterator[Output]:
        """What is held, up to the line in which a form may have begun, with what was found hidden."""
        texts = [_UNSEEN.sub("", held.text) for held in stream.held]
        seen = stream.tail + "".join(texts)
        edges = list(accumulate(map(len, texts), initial=len(stream.tail)))
        found, begun = self._find(seen)
        count = len(texts)
        if begun is not None and not everything:
            count = max((i for i in range(count) if edges[i] <= begun), default=0)
        if stream.covered:
            found = [(edges[0], edges[0] + stream.covered), *found]
        for record, (start, end) in zip(stream.held, pairwise(edges[: count + 1]), strict=False):
            inside = [(max(a, start) - start, min(b, end) - start) for a, b in found if a < end and b > start]
            yield replace(record, text=_hide(record.text, inside, _positions(record.text))) if inside else record
        stream.covered = max([0, *(b - edges[count] for a, b in found if a < edges[count])])
        stream.tail = seen[: edges[count]][1 - _GRAM :]
        del stream.held[:count]

    def _find(self, text: str) -> tuple[list[tuple[int, int]], int | None]:
        """Where forms stand, and where the first one begins that the end of the text cuts."""
        found: list[tuple[int, int]] = []
        begun = None
        match = self._grams.search(text)
        while match:
            at = match.start()
            for form in self._forms[match[0]].values():
                if text.startswith(form.text, at):
                    found.append(form.around(text, at))
                elif begun is None and len(text) - at < len(form.text) and form.text.startswith(text[at:]):
                    begun = at
            match = self._grams.search(text, at + 1)
        return found, begun


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


def _any_of(grams: list[str]) -> str:
    """An expression for one of these texts of equal length that looks at each character once."""
    after: dict[str, list[str]] = defaultdict(list)
    for gram in grams:
        after[gram[0]].append(gram[1:])
    branches = (re.escape(first) + (_any_of(rest) if rest[0] else "") for first, rest in after.items())
    return f"(?:{'|'.join(branches)})"
