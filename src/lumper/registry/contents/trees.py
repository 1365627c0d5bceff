"""Two layers file by file: what one has that the other has not, or has otherwise. For a thread; in bounded memory.

Contents are not kept, only a digest of each file: some 400 bytes a file, so at most 100 MiB.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from lumper.errors import ArchiveError
from lumper.model.builds.verification import TIME, FileDifference
from lumper.registry.contents.layers import MOST_UNPACKED
from lumper.registry.contents.unpacking import unpacked
from lumper.registry.tar import Member, Source, TarStream

MOST_FILES = 250_000  # of a layer, to be compared
MOST_LISTED = 20  # differences of a layer
MOST_NAMES = 64 << 20  # characters of all paths of a layer
_MOST_PATH = 400  # characters that are shown of a path
_MOST_TEXT = 64  # characters of other texts that are kept as they are
_ASPECTS = ("kind", "content", "mode", "owner", TIME, "link", "attributes")

_Facts = tuple[object, ...]  # in the order of _ASPECTS


@dataclass
class TreeDifference:
    """The first files that differ, and how many there are."""

    files: list[FileDifference] = field(default_factory=list)
    count: int = 0
    times_only: bool = True

    def add(self, path: str, what: Sequence[str]) -> None:
        """One more."""
        self.count += 1
        self.times_only = self.times_only and tuple(what) == (TIME,)
        if len(self.files) < MOST_LISTED:
            shown = "".join(c if c.isprintable() else "\ufffd" for c in path[:_MOST_PATH])
            self.files.append(FileDifference(shown, tuple(what)))


class TreeComparison:
    """Reads the first layer, then the second one. Raises ArchiveError for more than MOST_FILES of them."""

    def __init__(self) -> None:
        self._first: dict[str, _Facts] = {}

    def first(self, source: Source, media_type: str) -> None:
        """Take in the first layer."""
        names = 0
        for path, facts in _files(source, media_type):
            self._first[path] = facts
            names += len(path)
            if len(self._first) > MOST_FILES or names > MOST_NAMES:
                raise ArchiveError(f"more than {MOST_FILES} files, or too long names")

    def second(self, source: Source, media_type: str) -> TreeDifference:
        """What differs in the second layer."""
        found = TreeDifference()
        for path, facts in _files(source, media_type):
            known = self._first.pop(path, None)
            if known is None:
                found.add(path, ["only in the second image"])
            elif known != facts:
                pairs = zip(_ASPECTS, known, facts, strict=True)
                found.add(path, [aspect for aspect, one, other in pairs if one != other])
        for path in self._first:
            found.add(path, ["only in the first image"])
        return found


def _files(source: Source, media_type: str) -> Iterator[tuple[str, _Facts]]:
    tar = TarStream(unpacked(source, media_type), MOST_UNPACKED)
    for member in tar.members():
        yield member.path, _facts(member, tar)


def _facts(member: Member, tar: TarStream) -> _Facts:
    content = hashlib.blake2b(digest_size=16)
    for piece in tar.pieces():
        content.update(piece)
    digest = content.digest() if member.file or member.size else b""
    return (
        member.kind, digest, member.mode, member.owner, _short(member.mtime), _short(member.link), member.attributes,
    )  # fmt: skip


def _short(text: str) -> str:
    return text if len(text) <= _MOST_TEXT else hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
