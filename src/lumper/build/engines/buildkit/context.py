"""How a context gets to the engine: a small one as a stream, a large one file by file.

Of files, only those that the Dockerfile copies are sent, and none that the engine has from the same context before.
What it has from another commit does not count: BuildKit takes files of one size and time for the same, and the time of
all files is that of the commit, which two commits can share. So the engine keeps files for the very same context only.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from lumper.build.engines.buildkit.filesync import FileSync
from lumper.build.engines.buildkit.services import Service
from lumper.build.engines.buildkit.session import Upload
from lumper.build.engines.buildkit.spool import open_spool

INCREMENTAL_FROM = 32 * 1024 * 1024
"""Bytes from which on a context is sent file by file."""

_LEAST_AVERAGE = 16 * 1024  # bytes of a file: each costs two messages, where a stream has a hundred in one


class Source:
    """What a build names as its context, and the service that brings it. `upload` is there if it is a stream.

    `shared_key` is the name under which the engine keeps the files.
    """

    def __init__(self, service: Service, upload: Upload | None, shared_key: str = "") -> None:
        self.service = service
        self.shared_key = shared_key
        self._upload = upload

    @property
    def url(self) -> str:
        """The attribute `context`; "" for folders of the session."""
        return self._upload.url if self._upload else ""

    @property
    def failure(self) -> Exception | None:
        """What reading the context raised, if it did."""
        return self._upload.failure if self._upload else None


@asynccontextmanager
async def source(
    context: AsyncIterator[bytes], incremental_from: int = INCREMENTAL_FROM, folder: str = ""
) -> AsyncIterator[Source]:
    """The best way for this context, which lies in `folder`. What reading raises comes out here, or with the build."""
    first, size = list[bytes](), 0
    async for piece in context:
        first.append(piece)
        size += len(piece)
        if size >= incremental_from:
            break
    else:
        upload = Upload(_again(first))
        yield Source(upload, upload)
        return
    spool = open_spool()
    try:
        await spool.fill(first, context)
        first.clear()
        entries = await asyncio.to_thread(spool.entries)
        if entries is None or spool.size < len(entries) * min(_LEAST_AVERAGE, incremental_from):
            upload = Upload(spool.chunks())
            yield Source(upload, upload)
        else:
            yield Source(FileSync(spool, entries, folder), None, spool.digest(folder))
    finally:
        spool.close()


async def _again(pieces: list[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece
