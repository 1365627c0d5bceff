"""How a context gets to the engine: one of many small files as a stream, any other file by file.

Of files, only those that the Dockerfile copies are sent, and none that the engine has from the same context before. A
stream the engine unpacks with a program of its own, which takes longer than a whole cached build. Where the request
names its context, the build begins while that is still being read.
What it has from another commit does not count: BuildKit takes files of one size and time for the same, and the time of
all files is that of the commit, which two commits can share. So the engine keeps files for the very same context only.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from lumper.build.engines.buildkit.filesync import FileSync
from lumper.build.engines.buildkit.services import Service
from lumper.build.engines.buildkit.session import Upload
from lumper.build.engines.buildkit.spool import Entry, Spool, open_spool
from lumper.errors import EngineError

INCREMENTAL_FROM = 32 * 1024 * 1024
"""Bytes from which on a context is sent file by file."""

_LEAST_AVERAGE = 16 * 1024  # bytes of a file: each costs two messages, where a stream has a hundred in one


class Source:
    """What a build names as its context, and the service that brings it.

    `shared_key` is the name under which the engine keeps the files.
    """

    def __init__(self, service: Upload | FileSync, shared_key: str = "") -> None:
        self.service: Service = service
        self.shared_key = shared_key
        self._bringing = service

    @property
    def url(self) -> str:
        """The attribute `context`; "" for folders of the session."""
        return self._bringing.url if isinstance(self._bringing, Upload) else ""

    @property
    def failure(self) -> Exception | None:
        """What reading the context raised, if it did."""
        return self._bringing.failure


@asynccontextmanager
async def source(
    context: AsyncIterator[bytes], key: str = "", folder: str = "", incremental_from: int = INCREMENTAL_FROM
) -> AsyncIterator[Source]:
    """The best way for this context, which lies in `folder`; `key` as in BuildRequest.

    What reading raises comes out here, or with the build.
    """
    way = _named(context, key, folder) if key else _unnamed(context, folder, incremental_from)
    async with way as found:
        yield found


@asynccontextmanager
async def _named(context: AsyncIterator[bytes], key: str, folder: str) -> AsyncIterator[Source]:
    """File by file, once all of it was read."""
    spool = open_spool()
    reading = asyncio.create_task(_read(spool, context))
    try:
        shared_key = hashlib.blake2b(key.encode("utf-8", "surrogateescape"), digest_size=20).hexdigest()
        yield Source(FileSync(spool, reading, folder), shared_key)
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        spool.close()


async def _read(spool: Spool, context: AsyncIterator[bytes]) -> Sequence[Entry]:
    await spool.fill([], context)
    entries = await asyncio.to_thread(spool.entries)
    if entries is None:
        raise EngineError("The context has what only a tar can say: hard links, devices, names that are no text.")
    return entries


@asynccontextmanager
async def _unnamed(context: AsyncIterator[bytes], folder: str, incremental_from: int) -> AsyncIterator[Source]:
    first, size = list[bytes](), 0
    async for piece in context:
        first.append(piece)
        size += len(piece)
        if size >= incremental_from:
            break
    else:
        yield Source(Upload(_again(first)))
        return
    spool = open_spool()
    try:
        await spool.fill(first, context)
        first.clear()
        entries = await asyncio.to_thread(spool.entries)
        if entries is None or spool.size < len(entries) * min(_LEAST_AVERAGE, incremental_from):
            yield Source(Upload(spool.chunks()))
        else:
            known = asyncio.get_running_loop().create_future()
            known.set_result(entries)
            yield Source(FileSync(spool, known, folder), spool.digest(folder))
    finally:
        spool.close()


async def _again(pieces: list[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece
