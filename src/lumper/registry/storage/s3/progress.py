"""An upload on its way: parts of one size that S3 has already, and the bytes after them."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from lumper.errors import StorageError, StorageFull
from lumper.registry.storage.s3 import keys
from lumper.registry.storage.s3.multipart import Multipart
from lumper.registry.storage.s3.tail import Headed, Tail
from lumper.system.memory_budget import MemoryBudget

if TYPE_CHECKING:
    from hashlib import _Hash

PART = 8 << 20  # bytes of every part but the last; S3 allows 10,000 of them
_MOST_PARTS = 10_000
_IN_FLIGHT = 2  # parts of one upload
CHECKPOINT = 32  # parts; then what came is written down, so that it counts as new, and outlives a crash

_T = TypeVar("_T")


@dataclass
class Progress:
    """What has come of an upload. `state` is the key that says so in the bucket.

    `sha256` is the hash of all bytes; None after a restart, for S3 does not show parts.
    """

    name: str
    state: str = ""
    multipart: str = ""
    etags: list[str] = field(default_factory=list)
    tail: Tail = field(default_factory=Tail)
    sha256: _Hash | None = None

    @property
    def size(self) -> int:
        """How many bytes have come."""
        return len(self.etags) * PART + len(self.tail)

    @property
    def digest(self) -> str | None:
        """The sha256 digest of all that has come, or None if it is not known."""
        return None if self.sha256 is None else f"sha256:{self.sha256.hexdigest()}"

    def add(self, pieces: Sequence[bytes | memoryview]) -> None:
        """Take bytes at the end. Writes a file; after an error what came is not known any more."""
        self.tail.add(pieces)
        if self.sha256 is not None:
            for piece in pieces:
                self.sha256.update(piece)

    def encoded(self) -> Headed:
        """What the object of this state holds: a line of JSON, and the bytes after the parts."""
        return Headed(json.dumps({"multipart": self.multipart, "etags": self.etags}).encode() + b"\n", self.tail)

    def take_part(self) -> Tail:
        """The bytes after the parts, which are a part from now on."""
        part, self.tail = self.tail, self.tail.another()
        return part


async def decoded(name: str, state: str, content: AsyncIterator[bytes], folder: Path | None = None) -> Progress:
    """The progress that an object holds, with its tail in `folder`. Raises StorageError if it holds something else."""
    head = b""
    while b"\n" not in head and (piece := await anext(content, b"")):
        head += piece
    head, _, began = head.partition(b"\n")
    try:
        values = json.loads(head)
        progress = Progress(name, state, str(values["multipart"]), [str(tag) for tag in values["etags"]], Tail(folder))
    except (ValueError, KeyError, TypeError) as exc:
        raise StorageError(f"The upload {name} cannot be read back.") from exc
    if not progress.etags:  # all its bytes are here
        progress.sha256 = hashlib.sha256()
    await asyncio.to_thread(progress.add, [began])
    async for piece in content:
        await asyncio.to_thread(progress.add, [piece])
    if progress.size != keys.state_size(state):
        raise StorageError(f"The upload {name} cannot be read back.")
    return progress


class Writer:
    """Writes at the end of an upload. At most two parts are under way; while they are, the next one is filled.

    All uploads share the `places`, of which each part under way has one, and the `room` for bytes that no file has yet.
    `failed`: S3 did not take a part, or no file the bytes of one, and the progress tells nothing any more.
    """

    def __init__(self, multipart: Multipart, progress: Progress, places: asyncio.Semaphore, room: MemoryBudget) -> None:
        self._multipart = multipart
        self._progress = progress
        self._places = places
        self._room = room
        self._gathered: list[memoryview] = []
        self._gathered_size = 0
        self._under_way: list[asyncio.Task[str]] = []
        self.failed = False

    async def write(self, piece: bytes) -> None:
        """Take the next bytes, or after a cancellation a part of them."""
        view = memoryview(piece)
        while view:
            room = view[: PART - len(self._progress.tail) - self._gathered_size]
            self._gathered.append(room)
            self._gathered_size += len(room)
            view = view[len(room) :]
            if len(self._progress.tail) + self._gathered_size == PART:
                await whole(self._send())
            elif self._gathered_size >= self._room.share:
                await whole(self._put_away())

    async def _put_away(self) -> None:
        """What was gathered, to the end of the tail."""
        gathered, self._gathered, self._gathered_size = self._gathered, [], 0
        try:
            await asyncio.to_thread(self._progress.add, gathered)
        except BaseException:
            self.failed = True
            raise

    async def _send(self) -> None:
        """The tail, as the next part."""
        progress = self._progress
        await self._put_away()
        if len(progress.etags) + len(self._under_way) >= _MOST_PARTS - 1:
            raise StorageFull("The blob is larger than S3 takes in parts of 8 MiB.", hint="Make the layer smaller.")
        if not progress.multipart:
            progress.multipart = await self._multipart.create(keys.data(progress.name))
        if len(self._under_way) >= _IN_FLIGHT:
            await self._oldest()
        await self._places.acquire()
        number = len(progress.etags) + len(self._under_way) + 1
        self._under_way.append(asyncio.create_task(self._put(progress.take_part(), number)))
        self._under_way[-1].add_done_callback(lambda _: self._places.release())

    async def _put(self, part: Tail, number: int) -> str:
        progress = self._progress
        etag = await self._multipart.put_part(keys.data(progress.name), progress.multipart, number, part)
        await asyncio.to_thread(part.close)
        return etag

    async def _oldest(self) -> None:
        self._progress.etags.append(await self._under_way[0])
        del self._under_way[0]

    async def settle(self) -> None:
        """Wait until all bytes are there. Raises what went wrong with some of them, when no part is under way."""
        try:
            if self._gathered:
                await self._put_away()
            while self._under_way:
                await self._oldest()
        except BaseException:
            self.failed = True
            raise
        finally:
            for task in self._under_way:
                task.cancel()
            await asyncio.gather(*self._under_way, return_exceptions=True)
            self._under_way.clear()


async def whole(step: Coroutine[Any, Any, _T]) -> _T:
    """Do a step to its end, also when the caller is cancelled meanwhile: the cancellation comes after it."""
    task = asyncio.ensure_future(step)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as exc:
            if not task.cancelled():
                cancelled = exc
        except Exception:  # noqa: BLE001 - raised below
            break
    if cancelled is not None:
        if not task.cancelled():
            task.exception()
        raise cancelled
    return task.result()
