"""The members of a tar file that anyone may have made: names, places and sizes, in bounded memory.

Nothing is unpacked: a name is only something to look up, so none leads anywhere. Python's own module reads headers of
any size into memory. Source: POSIX.1-2017, pax, "ustar Interchange Format" and "pax Extended Header"; GNU tar's manual,
"Basic Tar Format".
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from lumper.errors import ArchiveError

_BLOCK = 512
_MOST_MEMBERS = 100_000
_MOST_HEADER = 1 << 20  # bytes of a header that goes before a member
_MOST_HOPS = 8
_REGULAR = b"0\07"
_LINKS = b"12"


@dataclass(frozen=True)
class Member:
    """A regular file in the archive: `size` bytes from `offset` on."""

    offset: int
    size: int


class Tar:
    """The members of an open tar file. Raises ArchiveError for what is none, or too much."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file = file
        self._path = path
        self._members: dict[str, Member] = {}
        self._links: dict[str, str] = {}
        self._end = file.seek(0, 2)
        self._read()

    def find(self, name: str) -> Member | None:
        """The file of this name; `docker save` writes a layer once, and links to it."""
        for _ in range(_MOST_HOPS):
            if name not in self._links:
                return self._members.get(name)
            name = self._links[name]
        raise self._bad(f"the links of {name!a} lead in a circle")

    def _read(self) -> None:
        place, given = 0, _Given()
        for _ in range(_MOST_MEMBERS):
            self._file.seek(place)
            block = self._file.read(_BLOCK)
            if len(block) < _BLOCK or not block.strip(b"\0"):
                if place == 0:
                    raise self._bad("it is no tar file")
                return
            kind = self._checked(block)
            size = given.size if given.size is not None else self._number(block[124:136])
            begin = place + _BLOCK
            if begin + size > self._end:
                raise self._bad("it is cut off")
            if kind in b"xgLK":
                given = self._given(kind, begin, size, given)
            else:
                self._add(block, kind, Member(begin, size), given)
                given = _Given()
            place = begin + -(-size // _BLOCK) * _BLOCK
        raise self._bad(f"it has more than {_MOST_MEMBERS} members")

    def _checked(self, block: bytes) -> bytes:
        """The type of a header. All its bytes add up to its checksum, which itself counts as spaces."""
        if self._number(block[148:156]) != sum(block) - sum(block[148:156]) + 8 * 0x20:
            raise self._bad("it is no tar file, or damaged")
        return block[156:157]

    def _number(self, field: bytes) -> int:
        if field[0] & 0x80:  # GNU's way for more than 8 GiB
            value = int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
            if value >= 1 << 62:
                raise self._bad("a size in it is not possible")
            return value
        try:
            return int(field.strip(b" \0") or b"0", 8)
        except ValueError as exc:
            raise self._bad("it is no tar file, or damaged") from exc

    def _given(self, kind: bytes, begin: int, size: int, given: _Given) -> _Given:
        if size > _MOST_HEADER:
            raise self._bad("a name in it is too long")
        self._file.seek(begin)
        data = self._file.read(size)
        if kind == b"x":
            return self._pax(data)
        if kind == b"L":
            return _Given(_text(data), given.link, given.size)
        if kind == b"K":
            return _Given(given.name, _text(data), given.size)
        return given  # what is said of all members says nothing of their names

    def _pax(self, data: bytes) -> _Given:
        found: dict[bytes, bytes] = {}
        while data:
            length = int(digits) if (digits := data[:20].partition(b" ")[0]).isdigit() else 0
            key, _, value = data[len(digits) + 1 : length].partition(b"=")
            if length <= len(digits) + 1:
                raise self._bad("a header in it is damaged")
            found[key], data = value.removesuffix(b"\n"), data[length:]
        size = found.get(b"size", b"")
        if size and not (size.isdigit() and len(size) < 19):
            raise self._bad("a size in it is not possible")
        return _Given(_text(found.get(b"path", b"")), _text(found.get(b"linkpath", b"")), int(size) if size else None)

    def _add(self, block: bytes, kind: bytes, member: Member, given: _Given) -> None:
        prefix = _text(block[345:500]) if block[257:263] == b"ustar\0" else ""
        name = given.name or posixpath.join(prefix, _text(block[:100]))
        name = posixpath.normpath(name)
        if kind in _REGULAR:
            self._members[name] = member
        elif kind in _LINKS:
            link = given.link or _text(block[157:257])
            base = posixpath.dirname(name) if kind == b"2" else ""
            self._links[name] = posixpath.normpath(posixpath.join(base, link))

    def _bad(self, why: str) -> ArchiveError:
        return ArchiveError(f"{self._path} cannot be read: {why}.")


@dataclass(frozen=True)
class _Given:
    """What a header before a member says of it."""

    name: str = ""
    link: str = ""
    size: int | None = None


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "surrogateescape")
