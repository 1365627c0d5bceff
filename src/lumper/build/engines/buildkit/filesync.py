"""Serves a context file by file: the engine tells from a list what it has already, and asks for the rest.

What it has is from an earlier build of the same context, and it looks only at what the Dockerfile copies.
Source: moby/buildkit, session/filesync; tonistiigi/fsutil, send.go and receive.go.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from urllib.parse import unquote

from grpclib.const import Cardinality, Handler, Status
from grpclib.exceptions import GRPCError
from grpclib.server import Stream

from lumper.build.engines.buildkit.proto.filesync_pb2 import Packet, Stat
from lumper.build.engines.buildkit.spool import Entry, Spool, inside, selected

_CONTEXT, _DOCKERFILE = "context", "dockerfile"  # what the Dockerfile's reader calls the folders that it wants
_PIECE = 256 * 1024

Packets = Stream[Packet, Packet]


class FileSync:
    """Serves a context once its entries are known; the Dockerfile copies from `folder`, beside which it may lie."""

    def __init__(self, spool: Spool, entries: asyncio.Future[Sequence[Entry]], folder: str = "") -> None:
        self._spool = spool
        self._entries = entries
        self._folder = folder

    @property
    def failure(self) -> Exception | None:
        """What reading the context raised, if it did."""
        failure = self._entries.exception() if self._entries.done() and not self._entries.cancelled() else None
        return failure if isinstance(failure, Exception) else None

    async def copy(self, stream: Packets) -> None:
        """Tell what there is, then send what is asked for."""
        name = next(iter(_values(stream, "dir-name")), "")
        if name not in (_CONTEXT, _DOCKERFILE):
            raise GRPCError(Status.NOT_FOUND, "there is no such folder")
        patterns = [*_values(stream, "followpaths"), *_values(stream, "include-patterns")]
        await asyncio.wait((self._entries,))
        if self.failure is not None:
            raise GRPCError(Status.ABORTED, "the build context could not be read")
        there = inside(self._entries.result(), self._folder if name == _CONTEXT else "")
        entries = await asyncio.to_thread(selected, there, patterns)
        asked: asyncio.Queue[Entry | None] = asyncio.Queue()
        listening = asyncio.create_task(_listen(stream, entries, asked))
        try:
            for entry in entries:
                await stream.send_message(Packet(type=Packet.PACKET_STAT, stat=_stat(entry)))
            await stream.send_message(Packet(type=Packet.PACKET_STAT))
            numbers = {entry.path: number for number, entry in enumerate(entries)}
            while entry_asked := await asked.get():
                await self._send(stream, numbers[entry_asked.path], entry_asked)
            listening.result()
            await stream.send_message(Packet(type=Packet.PACKET_FIN))
        finally:
            listening.cancel()
            await asyncio.wait((listening,))

    async def _send(self, stream: Packets, number: int, entry: Entry) -> None:
        position, end = entry.offset, entry.offset + entry.size
        while position < end and (data := self._spool.read(position, min(_PIECE, end - position))):
            await stream.send_message(Packet(type=Packet.PACKET_DATA, ID=number, data=data))
            position += len(data)
        await stream.send_message(Packet(type=Packet.PACKET_DATA, ID=number))

    def __mapping__(self) -> Mapping[str, Handler]:
        return {"/moby.filesync.v1.FileSync/DiffCopy": Handler(self.copy, Cardinality.STREAM_STREAM, Packet, Packet)}


async def _listen(stream: Packets, entries: Sequence[Entry], asked: asyncio.Queue[Entry | None]) -> None:
    """Hand on what is asked for, and None at the end."""
    try:
        async for packet in stream:
            if packet.type == Packet.PACKET_FIN:
                return
            if packet.type == Packet.PACKET_ERR:
                raise GRPCError(Status.ABORTED, packet.data.decode("utf-8", "replace")[:500])
            if packet.type != Packet.PACKET_REQ or len(entries) <= packet.ID or not entries[packet.ID].has_data:
                raise GRPCError(Status.INVALID_ARGUMENT, f"there is no file {packet.ID}")
            asked.put_nowait(entries[packet.ID])
    finally:
        asked.put_nowait(None)


def _stat(entry: Entry) -> Stat:
    return Stat(
        path=entry.path,
        mode=entry.mode,
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
