"""The members of a tar stream that anyone may have made, one after the other, in bounded memory.

Python's own module reads headers of any size into memory. Source: POSIX.1-2017, pax, "ustar Interchange Format" and
"pax Extended Header"; GNU tar's manual, "Basic Tar Format".
"""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from lumper.errors import ArchiveError

_BLOCK = 512
_STEP = 1 << 20
_MOST_MEMBERS = 4_000_000
_MOST_HEADER = 1 << 20  # bytes of a header that goes before a member
_REGULAR = (b"0", b"\0", b"7")
_DIRECTORY = b"5"
_SPARSE = b"S"
_LINKS = b"12"
_ATTRIBUTE = b"SCHILY.xattr."
_BEFORE = b"xgLK"  # headers that tell of the member after them


class Source(Protocol):
    """Where bytes come from."""

    def read(self, size: int, /) -> bytes:
        """At most so many bytes; none at the end."""


@dataclass(frozen=True)
class Member:
    """An entry: its path without `./` and `/` in front; `file` and `directory` say what it is.

    A sparse file, of kind `S`, is no `file`: `size` is that of its pieces, and `attributes` tells where they lie, too.

    `kind` is the type of the header, and the rest as the header has it: `mtime` in seconds as it is written there;
    `attributes` is a digest of the extended ones.
    """

    path: str
    size: int
    file: bool
    directory: bool
    kind: str = ""
    mode: int = 0
    owner: tuple[int, int] = (0, 0)
    mtime: str = ""
    link: str = ""
    attributes: str = ""


class TarStream:
    """Goes over a tar stream of at most `most` bytes. Raises ArchiveError for what is none, or too much, of `what`."""

    def __init__(self, source: Source, most: int, what: str = "The layer") -> None:
        self._source = source
        self._what = what
        self._left = most
        self._rest = 0  # bytes of the present member, with padding, that were not read
        self._size = 0

    def members(self) -> Iterator[Member]:
        """All entries; the content of one can be had by `read` until the next one is asked for."""
        told: dict[str, str] = {}
        for _ in range(_MOST_MEMBERS):
            self._skip(self._rest)
            block = self._take(_BLOCK)
            if not block.strip(b"\0"):
                return
            if len(block) < _BLOCK:
                raise self._bad("is no tar file, or cut off")
            try:
                kind = self._begin(block, told)
                if kind in _BEFORE:
                    told |= _told(kind, self._header())
                    continue
            except ValueError as exc:
                raise self._bad(str(exc)) from exc
            if kind == _SPARSE:
                told["attributes"] = self._map(block, told.get("attributes", ""))
            elif kind not in _REGULAR:
                self._size, self._rest = 0, self._rest if kind not in b"123456" else 0
            yield _member(block, kind, self._size, told)
            told = {}
        raise self._bad(f"has more than {_MOST_MEMBERS} members")

    def _begin(self, block: bytes, told: Mapping[str, str]) -> bytes:
        """The type of a header, whose content is as long as it says, or the one before it. Raises ValueError."""
        kind = _checked(block)
        given = "size" in told and kind not in _BEFORE
        self._size = int(told["size"]) if given else _number(block[124:136])
        self._rest = -(-self._size // _BLOCK) * _BLOCK
        return kind

    def read(self, most: int) -> bytes | None:
        """The content of the present member; None if it has more than `most` bytes."""
        if self._size > most:
            return None
        content = self._take(self._size)
        if len(content) < self._size:
            raise self._bad("is cut off")
        self._rest -= self._size
        return content

    def pieces(self) -> Iterator[bytes]:
        """The content of the present member, of any size, in pieces. Not after `read`."""
        left = self._size
        while left > 0:
            piece = self._take(min(left, _STEP))
            if not piece:
                raise self._bad("is cut off")
            left -= len(piece)
            self._rest -= len(piece)
            yield piece

    def _map(self, block: bytes, before: str) -> str:
        """Where the pieces of a sparse file lie, as a digest with what was told `before`; more of it may follow.

        Source: GNU tar's manual, "Basic Tar Format", struct oldgnu_header and struct sparse.
        """
        digest, more = hashlib.sha256(before.encode() + block[386:495]), block[482:483]
        while more.strip(b"\0"):
            block = self._take(_BLOCK)
            if len(block) < _BLOCK:
                raise self._bad("is cut off")
            digest.update(block)
            more = block[504:505]
        return digest.hexdigest()

    def _header(self) -> bytes:
        content = self.read(_MOST_HEADER)
        if content is None:
            raise self._bad("has a header of more than 1 MiB")
        return content

    def _skip(self, count: int) -> None:
        while count > 0:
            skipped = len(self._take(min(count, _STEP)))
            if not skipped:
                raise self._bad("is cut off")
            count -= skipped

    def _take(self, count: int) -> bytes:
        self._left -= count
        if self._left < 0:
            raise self._bad("unpacks to more than is read")
        parts: list[bytes] = []
        while count > 0 and (part := self._source.read(min(count, _STEP))):
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def _bad(self, words: str) -> ArchiveError:
        return ArchiveError(f"{self._what} {words}.")


def _checked(block: bytes) -> bytes:
    """The type of a header. All its bytes add up to its checksum, which itself counts as spaces."""
    if _number(block[148:156]) != sum(block) - sum(block[148:156]) + 8 * 0x20:
        raise ValueError("is no tar file, or damaged")
    return block[156:157]


def _number(field: bytes) -> int:
    """Octal, or, as GNU writes large ones, binary."""
    if field[0] & 0x80:
        value = int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
        if value < 1 << 62:
            return value
    elif not (digits := field.strip(b" \0")).strip(b"01234567"):
        return int(digits or b"0", 8)
    raise ValueError(f"is no tar file, or damaged: {field!r} is no number")


def _name(block: bytes) -> str:
    name, prefix = block[:100].rstrip(b"\0"), block[345:500].split(b"\0", 1)[0]
    if block[257:263] == b"ustar\0" and prefix:
        name = prefix + b"/" + name
    return name.split(b"\0", 1)[0].decode("utf-8", "replace")


def _path(name: str) -> str:
    return posixpath.normpath("/" + name).lstrip("/")


def _member(block: bytes, kind: bytes, size: int, told: Mapping[str, str]) -> Member:
    link = told.get("linkpath") or _text(block[157:257]) if kind in _LINKS else ""
    return Member(
        _path(told.get("sparse") or told.get("path") or _name(block)),
        size,
        kind in _REGULAR,
        kind == _DIRECTORY,
        "0" if kind in _REGULAR else kind.decode("latin-1"),
        _loose(block[100:108]) & 0o7777,
        (_whole(told, "uid", block[108:116]), _whole(told, "gid", block[116:124])),
        told.get("mtime") or str(_loose(block[136:148])),
        link,
        told.get("attributes", ""),
    )


def _whole(told: Mapping[str, str], key: str, field: bytes) -> int:
    return int(told[key]) if key in told else _loose(field)


def _loose(field: bytes) -> int:
    """The number; for what is none, one that stands for it: times before 1970 are written in several ways."""
    try:
        return _number(field)
    except ValueError:
        return int.from_bytes(field, "big")


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode("utf-8", "replace")


def _told(kind: bytes, content: bytes) -> dict[str, str]:
    """What a header tells of the member after it, by pax's keywords."""
    if kind in b"LK":
        return {"path" if kind == b"L" else "linkpath": _text(content)}
    if kind != b"x":
        return {}
    found: dict[str, str] = {}
    place = 0
    while place < len(content):
        length, space, _ = content[place : place + 24].partition(b" ")
        if not space or not length.isdigit() or int(length) <= len(length) + 2:
            raise ValueError("has a pax header that cannot be read")
        record = content[place + len(length) + 1 : place + int(length) - 1]
        key, _, value = record.partition(b"=")
        number = value.isdigit() and len(value) < 19
        if key in (b"path", b"linkpath", b"mtime") or (key in (b"size", b"uid", b"gid") and number):
            found[key.decode()] = value.decode("utf-8", "replace")
        elif key == b"GNU.sparse.name":  # which has another one in its place for those who do not know such files
            found["sparse"] = value.decode("utf-8", "replace")
        elif key.startswith(_ATTRIBUTE):
            found["attributes"] = hashlib.sha256(found.get("attributes", "").encode() + record).hexdigest()
        place += int(length)
    return found
