"""A large context on disk, as a list of its files: then the engine need not be sent all of it.

A context comes as a tar stream. What is large is written to a file without a name, which is gone with the process.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
import tarfile
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import BinaryIO

from lumper.build.port import ContextEntry

_PIECE = 256 * 1024


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

    def files(self, folder: str) -> SpooledFiles | None:
        """What is in it, for a build that copies from this folder. Blocking.

        None if it has what only a tar can say: hard links, devices, names that are no text.
        """
        self._file.seek(0)
        found: dict[str, ContextEntry] = {}
        offsets: dict[str, int] = {}
        with tarfile.open(fileobj=self._file, mode="r:") as archive:
            for member in archive:
                entry = _entry(member)
                if entry is None:
                    return None
                for parent in PurePosixPath(entry.path).parents:
                    if (path := str(parent)) != ".":
                        found.setdefault(path, ContextEntry(path, stat.S_IFDIR | 0o755, entry.time))
                if entry.path:
                    found[entry.path] = entry
                    offsets[entry.path] = member.offset_data
        return SpooledFiles(self, self.digest(folder), found.values(), offsets)

    def close(self) -> None:
        """Let the file go. Idempotent."""
        self._file.close()


class SpooledFiles:
    """Implements `Files` of build/port.py for what lies in a spool."""

    def __init__(self, spool: Spool, key: str, entries: Iterable[ContextEntry], offsets: Mapping[str, int]) -> None:
        self.key = key
        self.time = None
        self._spool = spool
        self._offsets = offsets
        self._entries = {entry.path: entry for entry in entries}
        self._folders: dict[str, dict[str, ContextEntry]] = {}
        for path, entry in self._entries.items():
            folder, _, name = path.rpartition("/")
            self._folders.setdefault(folder, {})[name] = entry

    def __len__(self) -> int:
        return len(self._entries)

    async def folders(self, paths: Sequence[str]) -> list[Mapping[str, ContextEntry]]:
        """What folders have, by name."""
        return [self._folders.get(path, {}) for path in paths]

    async def sized(self, entries: Sequence[ContextEntry]) -> Sequence[ContextEntry]:
        """They have their sizes."""
        return entries

    async def read(self, paths: Sequence[str]) -> AsyncGenerator[bytes]:
        """The bytes of these files, in pieces; an empty one ends each file."""
        for path in paths:
            position = self._offsets[path]
            end = position + self._entries[path].size
            while position < end and (data := self._spool.read(position, min(_PIECE, end - position))):
                yield data
                position += len(data)
            yield b""


def open_spool() -> Spool:
    """A new one, in the folder for temporary files."""
    return Spool(tempfile.TemporaryFile(prefix="lumper-context-"))


def _entry(member: tarfile.TarInfo) -> ContextEntry | None:
    path = str(PurePosixPath(member.name)).removeprefix("./")
    try:
        (path + member.linkname).encode()
    except UnicodeEncodeError:
        return None
    if path.startswith("/") or ".." in path.split("/") or not (member.isreg() or member.isdir() or member.issym()):
        return None
    kind = stat.S_IFDIR if member.isdir() else stat.S_IFLNK if member.issym() else stat.S_IFREG
    mode = kind | (0o777 if member.issym() else member.mode & 0o7777)
    size = len(member.linkname.encode()) if member.issym() else member.size if member.isreg() else 0
    link = member.linkname if member.issym() else ""
    path = "" if path == "." else path
    return ContextEntry(path, mode, int(member.mtime), size, link, member.uid, member.gid)
