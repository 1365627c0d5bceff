"""The files in a tar file that anyone may have made, by their names, in bounded memory.

Nothing is unpacked: a name is only something to look up, so none leads anywhere.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from lumper.errors import ArchiveError
from lumper.registry.tar import TarStream

_MOST_MEMBERS = 100_000
_MOST_HOPS = 8
_SYMBOLIC, _HARD = "2", "1"


@dataclass(frozen=True)
class Extent:
    """A regular file in the archive: `size` bytes from `offset` on."""

    offset: int
    size: int


class Tar:
    """The members of an open tar file. Raises ArchiveError for what is none, or too much."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._path = path
        self._files: dict[str, Extent] = {}
        self._links: dict[str, str] = {}
        for count, member in enumerate(_OnDisk(file, path).members()):
            if count == _MOST_MEMBERS:
                raise ArchiveError(f"{path} has more than {_MOST_MEMBERS} members.")
            if member.file:
                self._files[member.path] = Extent(file.tell(), member.size)
            elif member.kind in (_SYMBOLIC, _HARD):
                base = posixpath.dirname(member.path) if member.kind == _SYMBOLIC else ""
                self._links[member.path] = posixpath.normpath(posixpath.join("/", base, member.link)).lstrip("/")
        if not self._files and not self._links:
            raise ArchiveError(f"{path} is no tar file, or has nothing in it.")

    def find(self, name: str) -> Extent | None:
        """The file of this name; `docker save` writes a layer once, and links to it."""
        for _ in range(_MOST_HOPS):
            if name not in self._links:
                return self._files.get(name)
            name = self._links[name]
        raise ArchiveError(f"The links of {name!a} in {self._path} lead in a circle.")


class _OnDisk(TarStream):
    """What is not read of a file is passed over."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._end = file.seek(0, 2)
        file.seek(0)
        self._file = file
        super().__init__(file, 1 << 62, str(path))

    def _skip(self, count: int) -> None:
        if self._file.tell() + min(count, self._size) > self._end:
            raise self._bad("is cut off")
        self._file.seek(count, 1)
