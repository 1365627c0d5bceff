"""One layer of an image into a repository: found there, mounted from another one, or compressed and sent."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any
from weakref import WeakValueDictionary

from lumper.build.engines.buildkit.push.folder import EngineFolder, NotThere
from lumper.build.engines.buildkit.push_reader import PushReader
from lumper.build.known_layers import KnownLayers
from lumper.build.source.packing import BLOCK, Packing, Pool
from lumper.build.target import Target
from lumper.errors import RemoteError

_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
_AT_ONCE = 2  # layers of one image that are compressed and sent at the same time
_PARTS = 2  # compressed blocks that wait for the network
_LITTLE = 128 << 10  # bytes
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
        *,
        trusting: bool = False,
    ) -> None:
        """`trusting`: what the repository was given it still has; who is wrong in that is told with the manifest."""
        self._folder = folder
        self._target = target
        self._place = place
        self._host, _, self._repository = place.partition("/")
        self._known = known
        self._pool = pool
        self._locks = locks
        self._reader = reader
        self._trusting = trusting
        self._slots = asyncio.Semaphore(_AT_ONCE)

    async def push(self, chain: Sequence[str]) -> Descriptor:
        """Let the repository have the last layer of a chain. Raises NotThere, RemoteError."""
        diff_id = chain[-1]
        lock = self._locks.setdefault(f"{self._host} {diff_id}", asyncio.Lock())
        async with lock:  # who has the same new layer at the same time finds it when we are done
            digest, size, how = await self._found(diff_id) or await self._mounted(diff_id) or await self._sent(chain)
        self._known.note(diff_id, digest, size, self._place)
        self._reader.receive({"id": diff_id.partition(":")[2][:12], "status": how})
        return {"mediaType": _LAYER, "size": size, "digest": digest}

    async def _found(self, diff_id: str) -> tuple[str, int, str] | None:
        """The layer as this repository has it already."""
        known = self._known.get(diff_id)
        if self._trusting and known is not None and self._place in known.places:
            return known.digest, known.size, _FOUND
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
                    group.create_task(self._send(packing, parts))
            except ExceptionGroup as several:
                raise first_of(several) from several
        return packing.digest, packing.size, "Pushed"

    async def _send(self, packing: Packing, parts: asyncio.Queue[bytes]) -> None:
        """Send what comes, at once if that is little."""
        begin, ended = b"", False
        while len(begin) <= _LITTLE and not ended:
            part = await parts.get()
            begin, ended = begin + part, not part
        if ended:
            await self._target.push_blob(self._repository, packing.digest, packing.size, lambda: _all(begin))
        else:
            await self._target.push_stream(self._repository, _all(begin, parts), lambda: packing.digest)

    async def _pack(self, chain: Sequence[str], packing: Packing, parts: asyncio.Queue[bytes]) -> None:
        """Compress the layer into the queue, which gets its end only if the layer was the right one."""
        with contextlib.closing(self._folder.layer(chain, BLOCK)) as blocks:
            async with contextlib.aclosing(packing.pack(blocks)) as packed:
                async for part in packed:
                    await parts.put(part)
        if packing.plain != chain[-1]:
            raise NotThere(f"the files of {chain[-1]} have changed")
        await parts.put(b"")


async def _all(begin: bytes, parts: asyncio.Queue[bytes] | None = None) -> AsyncIterator[bytes]:
    yield begin
    while parts is not None and (part := await parts.get()):
        yield part


def first_of(group: ExceptionGroup[Exception]) -> Exception:
    """One of the errors of several tasks: the others are mostly the same."""
    first: Exception = group
    while isinstance(first, ExceptionGroup):
        first = first.exceptions[0]
    return first
