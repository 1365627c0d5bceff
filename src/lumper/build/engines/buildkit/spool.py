"""A large context on disk, as a list of its files: then the engine need not be sent all of it.

A context comes as a tar stream. What is large is written to a file without a name, which is gone with the process.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import tarfile
import tempfile
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import BinaryIO

# Go's os.FileMode, which fsutil sends: https://pkg.go.dev/io/fs#FileMode
_DIRECTORY, _SYMLINK, _SETUID, _SETGID, _STICKY = 1 << 31, 1 << 27, 1 << 23, 1 << 22, 1 << 20
_WILD = frozenset("*?[\\")
_MOST_LINKS = 255
_PIECE = 1024 * 1024


@dataclass(frozen=True)
class Entry:
    """A file, folder or symbolic link. `mode` is Go's, `time` in seconds since 1970, `offset` where its bytes lie."""

    path: str
    mode: int
    uid: int
    gid: int
    size: int
    time: int
    link: str
    offset: int

    @property
    def has_data(self) -> bool:
        """Whether the engine may ask for its bytes."""
        return not self.mode & (_DIRECTORY | _SYMLINK)


class Spool:
    """A context in a file. Close it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = hashlib.blake2b(digest_size=20)
        self.size = 0

    def digest(self, folder: str) -> str:
        """What tells this folder of this context from all others."""
        whole = self._hash.copy()
        whole.update(folder.encode())
        return whole.hexdigest()

    async def fill(self, first: Sequence[bytes], rest: AsyncIterator[bytes]) -> None:
        """Write these pieces, and then all that comes."""
        for piece in first:
            await asyncio.to_thread(self._write, piece)
        async for piece in rest:
            await asyncio.to_thread(self._write, piece)
        self._file.flush()

    def _write(self, piece: bytes) -> None:
        self._file.write(piece)
        self._hash.update(piece)
        self.size += len(piece)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The tar stream once more."""
        position = 0
        while data := await asyncio.to_thread(self.read, position, _PIECE):
            yield data
            position += len(data)

    def read(self, offset: int, size: int) -> bytes:
        """Bytes from anywhere."""
        return os.pread(self._file.fileno(), size, offset)

    def entries(self) -> list[Entry] | None:
        """What is in it, folders before their contents, in the order that fsutil wants. Blocking.

        None if it has what only a tar can say: hard links, devices, names that are no text.
        """
        self._file.seek(0)
        found: dict[str, Entry] = {}
        with tarfile.open(fileobj=self._file, mode="r:") as archive:
            for member in archive:
                entry = _entry(member)
                if entry is None:
                    return None
                for parent in PurePosixPath(entry.path).parents:
                    if (path := str(parent)) != ".":
                        found.setdefault(path, Entry(path, _DIRECTORY | 0o755, 0, 0, 0, entry.time, "", 0))
                if entry.path:
                    found[entry.path] = entry
        return sorted(found.values(), key=lambda entry: entry.path.encode().split(b"/"))

    def close(self) -> None:
        """Let the file go. Idempotent."""
        self._file.close()


def open_spool() -> Spool:
    """A new one, in the folder for temporary files."""
    return Spool(tempfile.TemporaryFile(prefix="lumper-context-"))


def _entry(member: tarfile.TarInfo) -> Entry | None:
    path = str(PurePosixPath(member.name)).removeprefix("./")
    try:
        (path + member.linkname).encode()
    except UnicodeEncodeError:
        return None
    if path.startswith("/") or ".." in path.split("/") or not (member.isreg() or member.isdir() or member.issym()):
        return None
    kind = _DIRECTORY if member.isdir() else _SYMLINK if member.issym() else 0
    special = sum(go for unix, go in ((0o4000, _SETUID), (0o2000, _SETGID), (0o1000, _STICKY)) if member.mode & unix)
    mode = kind | special | (0o777 if member.issym() else member.mode & 0o777)
    size = len(member.linkname.encode()) if member.issym() else member.size if member.isreg() else 0
    link = member.linkname if member.issym() else ""
    offset = member.offset_data
    return Entry("" if path == "." else path, mode, member.uid, member.gid, size, int(member.mtime), link, offset)


def inside(entries: Sequence[Entry], folder: str) -> Sequence[Entry]:
    """What lies in a folder, by its path there; all for "". Pure."""
    if not folder:
        return entries
    start = f"{folder}/"
    return [replace(entry, path=entry.path.removeprefix(start)) for entry in entries if entry.path.startswith(start)]


def selected(entries: Sequence[Entry], patterns: Iterable[str]) -> list[Entry]:
    """What these paths of a Dockerfile can mean, with all folders above; everything without paths. Pure.

    It is rather too much than too little: from a wildcard on, all that could match counts.
    """
    by_path = {entry.path: entry for entry in entries}
    roots: set[str] = set()
    for pattern in patterns:
        found = _roots(pattern, by_path)
        if found is None:
            return list(entries)
        roots |= found
    if not roots:
        return list(entries)
    above = {str(parent) for root in roots for parent in PurePosixPath(root).parents}
    return [entry for entry in entries if entry.path in above or _below(entry.path, roots)]


def _below(path: str, roots: set[str]) -> bool:
    return path in roots or any(str(parent) in roots for parent in PurePosixPath(path).parents)


def _roots(pattern: str, by_path: Mapping[str, Entry]) -> set[str] | None:
    """The paths under which all counts, links on the way to them included; None: everything."""
    waiting, roots = [os.path.normpath(pattern.strip("/") or ".")], set[str]()
    for _ in range(_MOST_LINKS):
        if not waiting:
            return roots
        parts = waiting.pop().split("/")
        literal = next((number for number, part in enumerate(parts) if _WILD & set(part)), len(parts))
        root = "/".join(parts[:literal])
        if root in ("", ".") or parts[0] == "..":
            return None
        if literal < len(parts) and any(entry.link for path, entry in by_path.items() if path.startswith(f"{root}/")):
            return None
        roots.add(root)
        for number in range(1, literal + 1):
            entry = by_path.get("/".join(parts[:number]))
            if entry is not None and entry.link:
                target = entry.link if entry.link.startswith("/") else "/".join((*parts[: number - 1], entry.link))
                waiting.append(os.path.normpath("/".join((target.lstrip("/"), *parts[number:]))))
                break
    return None
