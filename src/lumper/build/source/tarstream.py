"""Leave files out of a tar stream on its way, in flat memory.

Entries that are kept pass byte for byte. Formats: POSIX pax (IEEE Std 1003.1, "pax", ustar and extended headers),
which is what `git archive` writes: names that do not fit a header stand in an extended header before it.
"""

from __future__ import annotations

import asyncio
import tarfile
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass

from lumper.build.context.dockerignore import Ignore
from lumper.errors import SourceError

_BLOCK = 512
_PAX_LIMIT = 1 << 20  # bytes of one extended header; the longest path that Linux takes has 4096
_FOLDER = b"5"


async def filtered(chunks: AsyncIterator[bytes], ignore: Ignore, *, folder: str = "") -> AsyncGenerator[bytes]:
    """The tar stream without what `ignore` names; all of it lies in `folder`, which `ignore` knows nothing of.

    Raises SourceError if the stream is not a whole tar.
    """
    sieve = TarSieve(ignore, folder)
    async for chunk in chunks:
        kept = await asyncio.to_thread(sieve.feed, chunk)  # 1 MiB can be 2000 small files to decide on
        if kept:
            yield kept
    sieve.finish()


def file_entry(path: str, content: bytes, time: int) -> bytes:
    """A file as a part of a tar stream, with its header; `time` is in seconds since 1970."""
    entry = tarfile.TarInfo(path)
    entry.size, entry.mtime = len(content), time
    header = entry.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
    return header + content + bytes(_padded(len(content)) - len(content))


@dataclass(frozen=True)
class _Header:
    kind: bytes
    name: bytes
    size: int


class TarSieve:
    """Takes a tar in pieces of any size and gives back what is kept of it."""

    def __init__(self, ignore: Ignore, folder: str = "") -> None:
        self._ignore = ignore
        self._folder = f"{folder}/" if folder else ""
        self._rest = b""  # less than one header (with its extended header) so far
        self._body = 0  # bytes left of the body of the entry that we are in
        self._keep = False
        self._ended = False
        self._pax: dict[bytes, bytes] = {}
        self._held: list[bytes] = []  # extended header blocks of the next entry
        self._folders: list[tuple[str, bytes]] = []  # folders that are left out unless something in them is not

    def feed(self, data: bytes) -> bytes:
        """The kept part of the next piece. Raises SourceError."""
        data = self._rest + data
        view, kept, position = memoryview(data), list[bytes | memoryview](), 0
        while position < len(data):
            if self._ended:
                kept.append(view[position:])
                position = len(data)
            elif self._body:
                end = min(position + self._body, len(data))
                if self._keep:
                    kept.append(view[position:end])
                self._body -= end - position
                position = end
            else:
                end = self._header_end(data, position)
                if end > len(data):
                    break
                kept += self._header(data[position:end])
                position = end
        self._rest = data[position:]
        return b"".join(kept)

    def finish(self) -> None:
        """Raises SourceError if the tar broke off."""
        if not self._ended or self._rest:
            raise SourceError("The archive of the commit broke off.")

    def _header_end(self, data: bytes, position: int) -> int:
        """Where the header at `position` ends; with its body if that is an extended header."""
        end = position + _BLOCK
        if data[position + 156 : position + 157] in (b"x", b"g") and end <= len(data):
            size = _parse(data[position:end]).size
            if size > _PAX_LIMIT:
                raise SourceError("A path in the repository is too long to be built.")
            end += _padded(size)
        return end

    def _header(self, block: bytes) -> list[bytes]:
        if not any(block):
            self._ended = True
            return [block]
        header = _parse(block[:_BLOCK])
        if header.kind == b"g":
            return [block]
        if header.kind == b"x":
            self._pax = _pax(block[_BLOCK : _BLOCK + header.size])
            self._held.append(block)
            return []
        name = self._pax.get(b"path", header.name)
        size = self._pax.get(b"size", b"")
        self._body = _padded(int(size) if size.isdigit() else header.size)
        blocks = b"".join([*self._held, block])
        self._pax, self._held = {}, []
        path = name.decode("utf-8", "surrogateescape").removeprefix(self._folder)
        return self._decide(header.kind, path.strip("/"), blocks)

    def _decide(self, kind: bytes, path: str, blocks: bytes) -> list[bytes]:
        while self._folders and not path.startswith(self._folders[-1][0] + "/"):
            self._folders.pop()
        self._keep = not path or not self._ignore.ignores(path)  # the folder of the context itself stays
        if self._keep:
            around = [waiting for _, waiting in self._folders]
            self._folders.clear()
            return [*around, blocks]
        if kind == _FOLDER:
            self._folders.append((path, blocks))
        return []


def _padded(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK


def _parse(block: bytes) -> _Header:
    name, prefix = block[:100].split(b"\0")[0], b""
    if block[257:263] == b"ustar\0":
        prefix = block[345:500].split(b"\0")[0]
    return _Header(block[156:157], prefix + b"/" + name if prefix else name, _number(block[124:136]))


def _number(digits: bytes) -> int:
    if digits[0] & 0x80:  # the base-256 form that GNU tar made for large files
        return int.from_bytes(bytes([digits[0] & 0x7F]) + digits[1:], "big")
    try:
        return int(digits.strip(b"\0 ") or b"0", 8)
    except ValueError as exc:
        raise SourceError("The archive of the commit cannot be read.") from exc


def _pax(records: bytes) -> dict[bytes, bytes]:
    """Records `length SP key = value LF`; the length counts all of itself."""
    found: dict[bytes, bytes] = {}
    position = 0
    while position < len(records):
        space = records.find(b" ", position)
        length = records[position:space] if space > 0 else b""
        if not length.isdigit() or int(length) <= len(length) + 1:
            raise SourceError("The archive of the commit cannot be read.")
        key, _, value = records[space + 1 : position + int(length) - 1].partition(b"=")
        found[key] = value
        position += int(length)
    return found
