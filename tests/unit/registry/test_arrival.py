"""A blob on its way, in a folder that is full."""

from __future__ import annotations

import asyncio
import os
import resource
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

import pytest
from aiohttp import web

from lumper.errors import StorageError
from lumper.registry.remote.registry import RemoteRegistry
from lumper.registry.upstream.arrival import Arrival
from lumper.registry.upstream.passing import Source
from parts.registries.live_registry import digest_of
from parts.servers.http_server import serving


@contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    """A write that leads past it writes what fits, as on a disk that is nearly full; the next one fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_who_reads_a_blob_whose_last_bytes_had_no_room_is_told_so(tmp_path: Path) -> None:
    data = os.urandom(300_000)

    async def handler(_request: web.Request) -> web.Response:
        return web.Response(body=data)

    async with AsyncExitStack() as stack:
        registry = RemoteRegistry(await stack.enter_async_context(serving(handler)))
        stack.push_async_callback(registry.close)
        arrival = Arrival(tmp_path)
        reader = asyncio.create_task(_read(arrival, len(data)))
        with no_file_larger_than(len(data) - 5):
            try:
                with pytest.raises(StorageError) as trouble:
                    _ = [chunk async for chunk in arrival.fetch(Source(registry, "app", digest_of(data)))]
            finally:
                arrival.end(trouble.value)
        with pytest.raises(StorageError):
            async with asyncio.timeout(60):
                await reader


async def _read(arrival: Arrival, size: int) -> None:
    await arrival.started.wait()
    async for _ in arrival.read(0, size):
        pass
