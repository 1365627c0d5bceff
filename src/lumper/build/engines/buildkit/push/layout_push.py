"""From the worker's layout to a registry: only what the registry does not have is sent, manifests last."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from lumper.build.engines.buildkit.push.layout import Descriptor, Layout
from lumper.build.engines.buildkit.push_reader import PushReader
from lumper.build.engines.registry_words import push_error
from lumper.build.port import Login, Pushed
from lumper.build.target import OpenTarget, Target
from lumper.errors import EngineError, RemoteError
from lumper.model.addresses import registry_url

_AT_ONCE = 3
_PIECE = 1024 * 1024
_MANIFESTS = ("manifest.v1+json", "index.v1+json", "manifest.v2+json", "manifest.list.v2+json")


class LayoutPush:
    """Pushes of images of one layout."""

    def __init__(self, layout: Layout, open_target: OpenTarget) -> None:
        self._layout = layout
        self._open_target = open_target

    async def push(self, image: str, login: Login | None, reader: PushReader) -> Pushed:
        """Push an image by its name; `reader` is told how it goes on. Raises PushFailed."""
        descriptor = await asyncio.to_thread(self._layout.find, image)
        if descriptor is None:
            raise push_error(image, f"there is no image {image}: it does not exist locally")
        host, _, path = image.partition("/")
        repository, _, tag = path.rpartition(":")
        target = self._open_target(registry_url(host), login)
        try:
            blobs = list(dict.fromkeys(await asyncio.to_thread(lambda: list(self._layout.blobs(descriptor)))))
            await self._push_blobs(target, repository, [blob for blob in blobs if not _is_manifest(blob)], reader)
            for manifest in (blob for blob in blobs if _is_manifest(blob)):
                reference = tag if manifest == descriptor else manifest.digest
                body = await asyncio.to_thread(self._layout.path(manifest.digest).read_bytes)
                await target.put_manifest(repository, reference, body, manifest.media_type)
        except (RemoteError, EngineError, OSError) as exc:
            raise push_error(image, exc.message if isinstance(exc, RemoteError | EngineError) else str(exc)) from exc
        finally:
            await target.close()
        reader.receive({"aux": {"Digest": descriptor.digest, "Size": descriptor.size}})
        return reader.result()

    async def _push_blobs(self, target: Target, repository: str, blobs: list[Descriptor], reader: PushReader) -> None:
        slots = asyncio.Semaphore(_AT_ONCE)

        async def one(blob: Descriptor) -> None:
            async with slots:
                there = await target.blob_size(repository, blob.digest, to_push=True) is not None
                if not there:
                    path = self._layout.path(blob.digest)
                    await target.push_blob(repository, blob.digest, blob.size, lambda: _read(path))
            told = "Layer already exists" if there else "Pushed"
            reader.receive({"id": blob.digest.partition(":")[2][:12], "status": told})

        tasks = [asyncio.create_task(one(blob)) for blob in blobs]
        try:
            for task in tasks:
                await task
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _read(path: Path) -> AsyncIterator[bytes]:
    with await asyncio.to_thread(path.open, "rb") as file:
        while data := await asyncio.to_thread(file.read, _PIECE):
            yield data


def _is_manifest(blob: Descriptor) -> bool:
    return blob.media_type.endswith(_MANIFESTS)
