"""Uploads in a bucket: any process can continue what another one began."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections import OrderedDict
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path

from lumper.errors import StorageError
from lumper.registry.storage.s3 import keys
from lumper.registry.storage.s3.multipart import Body, Multipart
from lumper.registry.storage.s3.objects import Objects
from lumper.registry.storage.s3.progress import CHECKPOINT, Progress, Writer, decoded, whole
from lumper.registry.storage.s3.refusal import Missing
from lumper.registry.storage.s3.tail import Tail
from lumper.system.memory_budget import MemoryBudget

_REMEMBERED = 64  # uploads, each with up to 8 MiB
_GATHERED = 1 << 20  # bytes of all uploads together that are not in files yet
_GATHERED_LEAST, _GATHERED_MOST = 16 << 10, 256 << 10  # bytes of one
_IN_FLIGHT = 8  # parts of all uploads together; each needs a few pieces of memory, and its file


class Uploads:
    """Begin, continue, join and drop.

    What has come of an upload is an object whose key nobody used before. The bucket's listing says which one counts;
    what is remembered here, with the hash, is used only if it is the same, so several processes may take turns.
    """

    def __init__(self, objects: Objects, multipart: Multipart, folder: Path | None) -> None:
        """`folder` is where up to 8 MiB of each upload lie until S3 gets them."""
        self._objects = objects
        self._multipart = multipart
        self._folder = folder
        self._places = asyncio.Semaphore(_IN_FLIGHT)
        self._room = MemoryBudget(_GATHERED, _GATHERED_LEAST, _GATHERED_MOST)
        self._progress: OrderedDict[str, Progress] = OrderedDict()

    async def begin(self, name: str) -> None:
        """Make an empty one. Raises StorageError if it is there."""
        if await self._keys(name):
            raise StorageError(f"There is an upload {name} already.")
        await self._save(Progress(name, tail=Tail(self._folder), sha256=hashlib.sha256()))

    async def size(self, name: str) -> int | None:
        """How many bytes came, or None if there is no such upload."""
        state = _newest(await self._keys(name))
        return None if state is None else keys.state_size(state)

    async def append(self, name: str, offset: int, data: AsyncIterator[bytes]) -> int:
        """Write at `offset`; the new size. What came before `data` broke is kept."""
        progress = await self.load(name)
        if progress.size != offset:
            raise StorageError(f"The upload has {progress.size} bytes, not {offset}.")
        with self._room.taken():
            await self._write(Writer(self._multipart, progress, self._places, self._room), progress, data)
        return progress.size

    async def _write(self, writer: Writer, progress: Progress, data: AsyncIterator[bytes]) -> None:
        written = len(progress.etags)
        try:
            async for piece in data:
                await writer.write(piece)
                del piece  # the next one may be long in coming
                if len(progress.etags) - written >= CHECKPOINT:
                    await whole(self._keep(writer, progress))
                    written = len(progress.etags)
        finally:
            await whole(self._keep(writer, progress))

    async def _keep(self, writer: Writer, progress: Progress) -> None:
        """Write down what came. After a failure of S3 what was written down before still counts."""
        failed = writer.failed
        await writer.settle()
        if not failed:
            await self._save(progress)

    async def load(self, name: str) -> Progress:
        """What came, for one writer: it is remembered again only when it is saved. Raises StorageError for none."""
        state = _newest(await self._keys(name))
        remembered = self._progress.pop(name, None)
        if state is None:
            raise StorageError(f"There is no upload {name}.")
        if remembered is None or remembered.state != state:
            remembered = await decoded(name, state, self._objects.content(state), self._folder)
        return remembered

    async def _save(self, progress: Progress) -> None:
        before = progress.state
        progress.state = keys.state(progress.name, progress.size)
        await self.put(progress.state, progress.encoded())
        if before:
            await self._objects.delete(before)
        self._remember(progress)

    async def put(self, key: str, body: Body) -> None:
        """Write an object whole, when there is a place among the parts."""
        async with self._places:
            await self._multipart.put(key, body)

    def _remember(self, progress: Progress) -> None:
        self._progress[progress.name] = progress
        if len(self._progress) > _REMEMBERED:
            self._progress.popitem(last=False)

    async def join(self, progress: Progress, digest: str) -> bool:
        """Make the object of an upload with parts; `digest` is what it is meant to be. May be repeated.

        Returns False if it was made before: perhaps by another process, which may have got other bytes.
        """
        key = keys.data(progress.name)
        if await self._objects.size(key) == progress.size:
            return False
        await self._objects.put(keys.commit(progress.name, digest), b"")
        try:
            etags = list(progress.etags)
            if progress.tail:
                etags.append(await self._put_last(key, progress))
            await self._multipart.complete(key, progress.multipart, etags)
        except Missing:  # it was joined, and the answer was lost
            if await self._objects.size(key) != progress.size:
                raise
            return False
        return True

    async def _put_last(self, key: str, progress: Progress) -> str:
        async with self._places:
            return await self._multipart.put_part(key, progress.multipart, len(progress.etags) + 1, progress.tail)

    async def forget(self, name: str) -> None:
        """Remove what is known of an upload whose bytes are a blob, or gone."""
        self._progress.pop(name, None)
        await self._objects.delete(*await self._keys(name))

    async def drop(self, name: str) -> None:
        """Remove an upload with its bytes, unless they are a blob already. No error if there is none."""
        self._progress.pop(name, None)
        key = keys.data(name)
        async for found, upload, _ in self._multipart.unfinished(key):
            if found == key:
                with contextlib.suppress(Missing):  # it ended meanwhile
                    await self._multipart.abort(key, upload)
        meant = [digest for digest in map(keys.committed, await self._keys(name)) if digest]
        if meant and not any([await self._is_blob(name, digest) for digest in meant]):
            await self._objects.delete(key)
        await self.forget(name)

    async def _is_blob(self, name: str, digest: str) -> bool:
        places = [keys.place(found.key, found.size) async for found in self._objects.listed(keys.blob(digest))]
        return any(place is not None and place.key == keys.data(name) for place in places)

    async def give_up(self, place: keys.ParsedKey, digest: str) -> None:
        """Remove the bytes of a blob, after what leads to them; if that is cut off, they are those of an old upload."""
        if place.pointer is None:
            await self._objects.delete(place.key)
            return
        name = keys.upload_of(place.key)
        await self._objects.put(keys.commit(name, digest), b"")
        await self._objects.delete(place.pointer, place.key)
        await self.forget(name)

    async def all(self) -> list[tuple[str, datetime]]:
        """All of them with the time when bytes were last written down; also what a crash left of one."""
        times: dict[str, datetime] = {}
        async for found in self._objects.listed(keys.UPLOADS):
            name = keys.upload_of(found.key)
            times[name] = max(found.at, times.get(name, found.at))
        async for key, _, at in self._multipart.unfinished(f"{keys.DATA}/"):
            name = keys.upload_of(key)
            times[name] = max(at, times.get(name, at))
        return sorted(times.items())

    async def _keys(self, name: str) -> list[str]:
        return [found.key async for found in self._objects.listed(keys.upload(name))]


def _newest(found: list[str]) -> str | None:
    """The state that counts: of two writers, or after a crash between two steps, the one with more bytes."""
    return max((key for key in found if keys.state_size(key) is not None), default=None)
