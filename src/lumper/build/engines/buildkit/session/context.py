"""How a context gets to the engine: one of many small files as a stream, any other file by file.

Of files, only those that the Dockerfile copies are sent, and none that the engine has from the same context before. A
stream the engine unpacks with a program of its own, which takes longer than a whole cached build. Where the request has
the files one by one, nothing else is read at all.
What it has from another commit counts only where nothing of all that is copied has changed: shared_keys.py tells why.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from lumper.build.engines.buildkit.session.filesync import FileSync, as_they_are
from lumper.build.engines.buildkit.session.services import Service
from lumper.build.engines.buildkit.session.session import Upload
from lumper.build.engines.buildkit.session.shared_keys import SharedKeys
from lumper.build.engines.buildkit.session.spool import open_spool
from lumper.build.port import Files

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
    context: AsyncIterator[bytes],
    files: Files | None = None,
    folder: str = "",
    incremental_from: int = INCREMENTAL_FROM,
    keys: SharedKeys | None = None,
    place: str = "",
    *,
    own_times: bool = False,
) -> AsyncIterator[Source]:
    """The best way for this context, which lies in `folder`; `files` as in BuildRequest, `place` as for `keys`.

    With `own_times` all files have the time of their commit, also if an earlier one had just them.
    What reading raises comes out here, or with the build.
    """
    keys = keys or SharedKeys()
    if files is not None:
        kept = keys.of(files, place)
        yield Source(FileSync(files, folder, as_they_are if own_times else kept.aged), kept.name)
        return
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
        spooled = await asyncio.to_thread(spool.files, folder)
        if spooled is None or spool.size < len(spooled) * min(_LEAST_AVERAGE, incremental_from):
            yield Source(Upload(spool.chunks()))
        else:
            yield Source(FileSync(spooled, folder), keys.of(spooled, place).name)
    finally:
        spool.close()


async def _again(pieces: list[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece
