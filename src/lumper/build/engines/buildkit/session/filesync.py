"""Serves a context file by file: the engine tells from a list what it has already, and asks for the rest.

What it has is from an earlier build of the same context, and it looks only at what the Dockerfile copies.
Source: moby/buildkit, session/filesync; tonistiigi/fsutil, send.go and receive.go.
"""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from urllib.parse import unquote

from grpclib.const import Cardinality, Handler, Status
from grpclib.exceptions import GRPCError
from grpclib.server import Stream

from lumper.build.context.selection import select
from lumper.build.engines.buildkit.proto.filesync_pb2 import Packet, Stat
from lumper.build.engines.buildkit.transport.frames import send_messages
from lumper.build.port import ContextEntry, Files, NotOneByOne
from lumper.errors import LumperError

_GATHERED, _MOST_GATHERED = 64 * 1024, 100  # bytes and packets that are sent together
_CONTEXT, _DOCKERFILE = "context", "dockerfile"  # what the Dockerfile's reader calls the folders that it wants

# Go's os.FileMode, which fsutil sends: https://pkg.go.dev/io/fs#FileMode
_GO_MODES = ((stat.S_ISUID, 1 << 23), (stat.S_ISGID, 1 << 22), (stat.S_ISVTX, 1 << 20))
_DIRECTORY, _SYMLINK = 1 << 31, 1 << 27

Packets = Stream[Packet, Packet]
Tell = Callable[[Sequence[ContextEntry]], Sequence[ContextEntry]]
"""From what there is to what the engine is told of that: the same, perhaps with other times."""


def as_they_are(entries: Sequence[ContextEntry]) -> Sequence[ContextEntry]:
    """Tell all as it is."""
    return entries


class FileSync:
    """Serves a context; the Dockerfile copies from `folder`, beside which it may lie.

    `failure` is what reading the context raised, if it did.
    """

    def __init__(self, files: Files, folder: str = "", tell: Tell = as_they_are) -> None:
        self._files = files
        self._tell = tell
        self._folder = folder
        self.failure: Exception | None = None

    async def copy(self, stream: Packets) -> None:
        """Tell what there is, then send what is asked for."""
        name = next(iter(_values(stream, "dir-name")), "")
        if name not in (_CONTEXT, _DOCKERFILE):
            raise GRPCError(Status.NOT_FOUND, "there is no such folder")
        patterns = [*_values(stream, "followpaths"), *_values(stream, "include-patterns")]
        try:
            await self._copy(stream, self._folder if name == _CONTEXT else "", patterns)
        except (LumperError, NotOneByOne) as exc:
            self.failure = exc
            raise GRPCError(Status.ABORTED, "the build context could not be read") from exc

    async def _copy(self, stream: Packets, folder: str, patterns: Sequence[str]) -> None:
        found = await select(self._files, patterns, folder) or {}
        entries = self._tell(await self._files.sized(list(found.values())))
        asked: asyncio.Queue[int | None] = asyncio.Queue()
        listening = asyncio.create_task(_listen(stream, entries, asked))
        try:
            told = [_stat(path, entry) for path, entry in zip(found, entries, strict=True)]
            stats = [Packet(type=Packet.PACKET_STAT, stat=one) for one in told]
            await send_messages(stream, [*stats, Packet(type=Packet.PACKET_STAT)])
            while numbers := await _all_in(asked):
                await self._send(stream, numbers, entries)
            listening.result()
            await stream.send_message(Packet(type=Packet.PACKET_FIN))
        finally:
            listening.cancel()
            await asyncio.wait((listening,))

    async def _send(self, stream: Packets, numbers: Sequence[int], entries: Sequence[ContextEntry]) -> None:
        """Send the files with these numbers, one after the other."""
        left = iter(numbers)
        number, gathered, size = next(left), list[Packet](), 0
        async with aclosing(self._files.read([entries[each].path for each in numbers])) as reading:
            async for piece in reading:
                gathered.append(Packet(type=Packet.PACKET_DATA, ID=number, data=piece))
                size += len(piece)
                if size >= _GATHERED or len(gathered) >= _MOST_GATHERED:
                    await send_messages(stream, gathered)
                    gathered, size = [], 0
                if not piece:
                    number = next(left, -1)
        await send_messages(stream, gathered)

    def __mapping__(self) -> Mapping[str, Handler]:
        return {"/moby.filesync.v1.FileSync/DiffCopy": Handler(self.copy, Cardinality.STREAM_STREAM, Packet, Packet)}


async def _listen(stream: Packets, entries: Sequence[ContextEntry], asked: asyncio.Queue[int | None]) -> None:
    """Hand on what is asked for, and None at the end."""
    try:
        async for packet in stream:
            if packet.type == Packet.PACKET_FIN:
                return
            if packet.type == Packet.PACKET_ERR:
                raise GRPCError(Status.ABORTED, packet.data.decode("utf-8", "replace")[:500])
            if packet.type != Packet.PACKET_REQ or not (
                len(entries) > packet.ID and stat.S_ISREG(entries[packet.ID].mode)
            ):
                raise GRPCError(Status.INVALID_ARGUMENT, f"there is no file {packet.ID}")
            asked.put_nowait(packet.ID)
    finally:
        asked.put_nowait(None)


async def _all_in(asked: asyncio.Queue[int | None]) -> list[int]:
    """All that was asked for by now, at least one; empty at the end."""
    numbers = [await asked.get()]
    while not asked.empty() and numbers[-1] is not None:
        numbers.append(asked.get_nowait())
    if numbers[-1] is None and len(numbers) > 1:
        asked.put_nowait(None)
    return [number for number in numbers if number is not None]


def _stat(path: str, entry: ContextEntry) -> Stat:
    kind = _DIRECTORY if stat.S_ISDIR(entry.mode) else _SYMLINK if stat.S_ISLNK(entry.mode) else 0
    special = sum(go for unix, go in _GO_MODES if entry.mode & unix)
    return Stat(
        path=path,
        mode=kind | special | (entry.mode & 0o777),
        uid=entry.uid,
        gid=entry.gid,
        size=entry.size,
        modTime=entry.time * 1_000_000_000,
        linkname=entry.link,
    )


def _values(stream: Packets, key: str) -> list[str]:
    """What the engine named; what is not plain ASCII comes in the form of URLs."""
    metadata = stream.metadata
    if metadata is None:
        return []
    values = [str(value) for value in metadata.getall(key, [])]
    return [unquote(value) for value in values] if metadata.getall(f"{key}-encoded", []) else values
