"""Which images a rule keeps, and why: the pure decision, over tags that come page by page.

The decision is by image: if one of its tags is kept, so are all. Of a repository it needs to know beforehand only where
the newest images and the highest versions begin (`Survey`), so that no list of all tags is ever in memory. Tags such as
`sha256-<hex>.sig`, which say something of another image, go with that image and count nowhere.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from lumper.model.globs import fits
from lumper.model.images.image import TagState, beside, version_key
from lumper.model.images.rules import Keep, Rule, days_words, keep_words

_Line = tuple[int, int]


@dataclass(frozen=True)
class Verdict:
    """Whether a tag stays, and why."""

    repository: str
    tag: str
    digest: str
    kept: bool
    why: str


@dataclass(frozen=True)
class Marks:
    """From where on a rule keeps images by their rank; also what came after the survey is compared with that.

    `last` is the time and digest of the oldest image among the last ones, None: none is. `lines` has the lowest patch
    that is kept of each line from `lowest` on, None: no version is kept.
    """

    last: tuple[datetime, str] | None = None
    lowest: _Line | None = None
    lines: Mapping[_Line, int] | None = None

    def newest(self, tag: TagState) -> bool:
        """Whether the tag makes its image one of the last."""
        return self.last is not None and (tag.updated_at, tag.digest) >= self.last

    def highest(self, name: str) -> bool:
        """Whether the tag is one of the highest versions."""
        version = version_key(name)
        if version is None or self.lowest is None or self.lines is None:
            return False
        return version[:2] >= self.lowest and version[2] >= self.lines.get(version[:2], 0)


class Survey:
    """Finds the marks from every tag of a repository, in any order, holding about as many as the rule keeps."""

    def __init__(self, keep: Keep) -> None:
        self._keep = keep
        self._newest: dict[str, datetime] = {}
        self._lines: dict[_Line, set[int]] = {}  # of each line its highest patches, if they matter

    @property
    def needed(self) -> bool:
        """Whether the rule keeps anything by its rank at all."""
        return bool(self._keep.last or self._keep.minors or self._keep.patches)

    def add(self, tags: Iterable[TagState]) -> None:
        """Look at some more tags."""
        for tag in tags:
            if beside(tag.name):
                continue
            if self._keep.last:
                self._newest[tag.digest] = max(tag.updated_at, self._newest.get(tag.digest, tag.updated_at))
            if (self._keep.minors or self._keep.patches) and (version := version_key(tag.name)):
                self._version(version[:2], version[2])
        if len(self._newest) > 2 * self._keep.last + 1000:
            self._newest = dict(self._last())
        if self._keep.minors and len(self._lines) > 2 * self._keep.minors + 1000:
            self._lines = {line: self._lines[line] for line in heapq.nlargest(self._keep.minors, self._lines)}

    def _version(self, line: _Line, patch: int) -> None:
        patches = self._lines.setdefault(line, set())
        if self._keep.patches:
            patches.add(patch)
        if len(patches) > 2 * self._keep.patches + 10:
            self._lines[line] = set(heapq.nlargest(self._keep.patches, patches))

    def _last(self) -> list[tuple[str, datetime]]:
        return heapq.nlargest(self._keep.last, self._newest.items(), key=lambda item: (item[1], item[0]))

    def marks(self) -> Marks:
        """What was found."""
        last = self._last()
        oldest = (last[-1][1], last[-1][0]) if last else None
        highest = heapq.nlargest(self._keep.minors or len(self._lines), self._lines)
        lines = {line: min(heapq.nlargest(self._keep.patches, self._lines[line]), default=0) for line in highest}
        return Marks(oldest, min(highest, default=None), lines)


@dataclass(frozen=True)
class Judge:
    """Judges the tags of a repository by a rule that says what is kept.

    `freezing` is the rule that makes tags immutable, `needed` are the digests that stay in any case, with the reason.
    """

    repository: str
    rule: Rule
    marks: Marks
    freezing: Rule | None
    needed: Mapping[str, str]
    now: datetime

    @property
    def pulls(self) -> bool:
        """Whether it matters when an image was pulled last."""
        return bool(self.rule.keep and self.rule.keep.pulled_days)

    def reasons(self, tags: Iterable[TagState]) -> dict[str, str]:
        """By digest, of all that have a tag here that counts: why the image stays, by its first reason; "" if none."""
        found: dict[str, str] = {}
        for tag in tags:
            if not beside(tag.name):
                found[tag.digest] = found.get(tag.digest) or self.needed.get(tag.digest) or self._reason(tag)
        return found

    def _reason(self, tag: TagState) -> str:
        keep = self.rule.keep
        if keep is None:
            return "all is kept"
        pushed, pulled = self.now - timedelta(days=keep.pushed_days), self.now - timedelta(days=keep.pulled_days)
        if self.freezing and self.freezing.freezes(tag.name):
            return f"{tag.name} is immutable by the rule for {self.freezing.repositories}"
        if glob := next((glob for glob in keep.always if fits(glob, tag.name)), ""):
            return f"{tag.name} fits {glob}, which is always kept"
        if self.marks.newest(tag):
            return "it is the newest image" if keep.last == 1 else f"it is one of the last {keep.last} images"
        if keep.pushed_days and tag.updated_at > pushed:
            return f"it was pushed within {days_words(keep.pushed_days)}"
        if keep.pulled_days and tag.pulled_at and tag.pulled_at > pulled:
            return f"it was pulled within {days_words(keep.pulled_days)}"
        return f"{tag.name} is one of the highest versions" if self.marks.highest(tag.name) else ""

    def verdicts(self, tags: Sequence[TagState], reasons: Mapping[str, str]) -> list[Verdict]:
        """A verdict for each of the tags. `reasons` has their images, and those that tags beside them speak of."""
        keep = keep_words(self.rule.keep) if self.rule.keep else []
        lost = f"the rule for {self.rule.repositories} keeps {'; '.join(keep)}"
        return [self._verdict(tag, reasons, lost) for tag in tags]

    def _verdict(self, tag: TagState, reasons: Mapping[str, str], lost: str) -> Verdict:
        if subject := beside(tag.name):
            gone = reasons.get(subject) == ""
            why = "the image that it belongs to goes" if gone else "the image that it belongs to does not go"
            return Verdict(self.repository, tag.name, tag.digest, not gone, why)
        why = reasons[tag.digest]
        return Verdict(self.repository, tag.name, tag.digest, bool(why), why or lost)
