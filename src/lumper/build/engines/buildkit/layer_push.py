"""One layer of an image into a repository: found there, mounted from another one, or compressed and sent."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any
from weakref import WeakValueDictionary

from lumper.build.engines.buildkit.folder import EngineFolder, NotThere
from lumper.build.engines.buildkit.push import PushReader
from lumper.build.known_layers import KnownLayers
from lumper.build.packing import BLOCK, Packing, Pool
from lumper.build.target import Target
from lumper.errors import RemoteError

_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
_AT_ONCE = 2  # layers of one image that are compressed and sent at the same time
_PARTS = 2  # compressed blocks that wait for the network
_MOST_LOOKS = 4  # digests that are asked for before a layer is sent

_FOUND = "Layer already exists"

Descriptor = dict[str, Any]


class LayerPush:
    """The layers of one image on their way to `place`, HOST/NAME."""

    def __init__(
        self,
        folder: EngineFolder,
        target: Target,
        place: str,
        known: KnownLayers,
        pool: Pool,
        locks: WeakValueDictionary[str, asyncio.Lock],
        reader: PushReader,
    ) -> None:
        self._folder = folder
        self._target = target
        self._place = place
        self._host, _, self._repository = place.partition("/")
        self._known = known
        self._pool = pool
        self._locks = locks
        self._reader = reader
        self._slots = asyncio.Semaphore(_AT_ONCE)

    async def push(self, chain: Sequence[str]) -> Descriptor:
        """Let the repository have the last layer of a chain. Raises NotThere, RemoteError."""
        diff_id = chain[-1]
        lock = self._locks.setdefault(f"{self._host} {diff_id}", asyncio.Lock())
        async with lock:  # who has the same new layer at the same time finds it when we are done
            digest, size, how = await self._found(diff_id) or await self._mounted(diff_id) or await self._sent(chain)
        return self._told(diff_id, digest, size, how)

    def remembered(self, diff_ids: Sequence[str]) -> list[Descriptor] | None:
        """All layers as the repository was given them, if it was. Whether it still has them is for it to say."""
        found = self._known.all_at(diff_ids, self._place)
        return None if found is None else [descriptor(layer.digest, layer.size) for layer in found]

    def found_again(self, diff_ids: Sequence[str], layers: Sequence[Descriptor]) -> None:
        """The repository still has all of them."""
        for diff_id, layer in zip(diff_ids, layers, strict=True):
            self._told(diff_id, layer["digest"], layer["size"], _FOUND)

    def _told(self, diff_id: str, digest: str, size: int, how: str) -> Descriptor:
        self._known.note(diff_id, digest, size, self._place)
        self._reader.receive({"id": diff_id.partition(":")[2][:12], "status": how})
        return descriptor(digest, size)

    async def _found(self, diff_id: str) -> tuple[str, int, str] | None:
        """The layer as this repository has it already."""
        for digest in self._digests(diff_id):
            size = await self._target.blob_size(self._repository, digest, to_push=True)
            if size:
                return digest, size, _FOUND
        return None

    def _digests(self, diff_id: str) -> list[str]:
        known = self._known.get(diff_id)
        ours = [known.digest] if known else []
        theirs = [place.digest for place in reversed(self._folder.places(diff_id))]
        return list(dict.fromkeys([*ours, *theirs]))[:_MOST_LOOKS]

    async def _mounted(self, diff_id: str) -> tuple[str, int, str] | None:
        """The layer from another repository of the same registry, if we may."""
        for digest, place in self._elsewhere(diff_id):
            source = place.partition("/")[2]
            try:
                done = await self._target.mount(self._repository, digest, source)
                size = await self._target.blob_size(self._repository, digest, to_push=True) if done else None
            except RemoteError:  # it is not ours to read, or gone: then it is sent
                continue
            if size:
                return digest, size, f"Mounted from {source}"
        return None

    def _elsewhere(self, diff_id: str) -> list[tuple[str, str]]:
        known = self._known.get(diff_id)
        ours = [(known.digest, place) for place in reversed(known.places)] if known else []
        theirs = [(place.digest, place.repository) for place in reversed(self._folder.places(diff_id))]
        here = [one for one in (*ours, *theirs) if one[1].startswith(f"{self._host}/") and one[1] != self._place]
        return list(dict.fromkeys(here))[:_MOST_LOOKS]

    async def _sent(self, chain: Sequence[str]) -> tuple[str, int, str]:
        async with self._slots:
            packing, parts = Packing(self._pool), asyncio.Queue[bytes](_PARTS)
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._pack(chain, packing, parts))
                    group.create_task(self._target.push_stream(self._repository, _all(parts), lambda: packing.digest))
            except ExceptionGroup as several:
                raise first_of(several) from several
        return packing.digest, packing.size, "Pushed"

    async def _pack(self, chain: Sequence[str], packing: Packing, parts: asyncio.Queue[bytes]) -> None:
        """Compress the layer into the queue, which gets its end only if the layer was the right one."""
        with contextlib.closing(self._folder.layer(chain, BLOCK)) as blocks:
            async with contextlib.aclosing(packing.pack(blocks)) as packed:
                async for part in packed:
                    await parts.put(part)
        if packing.plain != chain[-1]:
            raise NotThere(f"the files of {chain[-1]} have changed")
        await parts.put(b"")


def descriptor(digest: str, size: int) -> Descriptor:
    """What a manifest says of a layer."""
    return {"mediaType": _LAYER, "size": size, "digest": digest}


async def _all(parts: asyncio.Queue[bytes]) -> AsyncIterator[bytes]:
    while part := await parts.get():
        yield part


def first_of(group: ExceptionGroup[Exception]) -> Exception:
    """One of the errors of several tasks: the others are mostly the same."""
    first: Exception = group
    while isinstance(first, ExceptionGroup):
        first = first.exceptions[0]
    return first
