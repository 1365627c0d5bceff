"""What is in an image of the registry: its layers, read as they lie in the storage, a piece at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

from lumper.errors import ArchiveError, RegistryError
from lumper.model.images.image import Manifest
from lumper.registry.contents.layers import Contents, Reader, check_most, told
from lumper.registry.contents.packages import Package
from lumper.registry.contents.platforms import Layer, Platform, platforms_of
from lumper.registry.contents.spdx import spdx
from lumper.registry.registry import Registry

_PATIENCE = 60.0  # seconds that a thread waits for the next bytes


async def contents_of(registry: Registry, repository: str, platform: Platform) -> Contents:
    """What the layers of one platform tell. Raises ArchiveError, StorageError."""
    reader = Reader()
    for layer in platform.layers:
        source = await bridge_to(registry, repository, layer)
        try:
            await asyncio.to_thread(reader.add, source, layer.media_type)
        finally:
            source.stopped = True  # the thread may outlive us
    return reader.contents


async def bill_of(registry: Registry, repository: str, manifest: Manifest, space: str, at: datetime) -> dict[str, Any]:
    """What is in an image, for all its platforms, as an SPDX document; `space` is a URL that names it alone.

    Raises ArchiveError, StorageError.
    """
    packages: set[Package] = set()
    unread: set[str] = set()
    distribution: dict[str, str] = {}
    for platform in await platforms_of(registry, repository, manifest):
        found = await contents_of(registry, repository, platform)
        packages.update(found.packages)
        check_most(len(packages), told(packages))
        unread |= found.unread
        distribution = distribution or found.distribution
    return spdx(repository, manifest.digest, space, at, sorted(packages), distribution, sorted(unread))


async def bridge_to(registry: Registry, repository: str, layer: Layer) -> Bridge:
    """The bytes of a layer. Raises ArchiveError for one that is not here, such as one that always lies elsewhere."""
    try:
        blob = await registry.blobs.stat(repository, layer.digest)
    except RegistryError as exc:
        raise ArchiveError(f"The layer {layer.digest} is not here.") from exc
    return Bridge(registry.blobs.read(blob, 0, blob.size))


class Bridge:
    """Lets a thread read what the event loop brings."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks
        self._loop = asyncio.get_running_loop()
        self._rest = memoryview(b"")
        self.stopped = False

    def read(self, size: int, /) -> bytes:
        """At most so many bytes; none at the end."""
        if self.stopped:
            raise ArchiveError("Nobody waits for what is in the image any more.")
        if not self._rest:
            coming = asyncio.run_coroutine_threadsafe(self._next(), self._loop)
            self._rest = memoryview(coming.result(_PATIENCE))
        part, self._rest = self._rest[:size], self._rest[size:]
        return bytes(part)

    async def _next(self) -> bytes:
        return await anext(self._chunks, b"")
