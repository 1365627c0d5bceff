"""An upload on its way: parts of one size that S3 has already, and the bytes after them."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from lumper.errors import StorageError, StorageFull
from lumper.registry.storage.s3 import keys
from lumper.registry.storage.s3.multipart import Multipart

if TYPE_CHECKING:
    from hashlib import _Hash

PART = 8 << 20  # bytes of every part but the last; S3 allows 10,000 of them
_MOST_PARTS = 10_000
_IN_FLIGHT = 2
CHECKPOINT = 32  # parts; then what came is written down, so that it counts as new, and outlives a crash

_T = TypeVar("_T")


@dataclass
class Progress:
    """What has come of an upload. `state` is the key that says so in the bucket.

    `sha256` is the hash of all bytes but the last `unhashed`; None after a restart, for S3 does not show parts.
    `joining`: somebody has tried before to make an object of the parts.
    """

    name: str
    state: str = ""
    multipart: str = ""
    etags: list[str] = field(default_factory=list)
    tail: bytearray = field(default_factory=bytearray)
    sha256: _Hash | None = None
    unhashed: int = 0
    joining: bool = False

    @property
    def size(self) -> int:
        """How many bytes have come."""
        return len(self.etags) * PART + len(self.tail)

    def encoded(self) -> bytes:
        """What the object of this state holds: a line of JSON, and the bytes after the parts."""
        head = json.dumps({"multipart": self.multipart, "etags": self.etags}).encode()
        return b"%s\n%s" % (head, self.tail)

    async def digest(self) -> str | None:
        """The sha256 digest of all that has come, or None if it is not known."""
        await asyncio.to_thread(self._hash)
        return None if self.sha256 is None else f"sha256:{self.sha256.hexdigest()}"

    def _hash(self) -> None:
        if self.sha256 is not None and self.unhashed:
            self.sha256.update(memoryview(self.tail)[len(self.tail) - self.unhashed :])
        self.unhashed = 0


def decoded(name: str, state: str, content: bytes) -> Progress:
    """The progress that an object holds. Raises StorageError if it holds something else."""
    head, _, tail = content.partition(b"\n")
    try:
        values = json.loads(head)
        progress = Progress(name, state, str(values["multipart"]), [str(tag) for tag in values["etags"]])
    except (ValueError, KeyError, TypeError) as exc:
        raise StorageError(f"The upload {name} cannot be read back.") from exc
    progress.tail = bytearray(tail)
    if not progress.etags:  # all its bytes are here
        progress.sha256, progress.unhashed = hashlib.sha256(), len(tail)
    if progress.size != keys.state_size(state):
        raise StorageError(f"The upload {name} cannot be read back.")
    return progress


class Writer:
    """Writes at the end of an upload. At most two parts are under way; while they are, the next one is filled.

    `failed`: S3 did not take a part, and the progress tells nothing any more.
    """

    def __init__(self, multipart: Multipart, progress: Progress) -> None:
        self._multipart = multipart
        self._progress = progress
        self._under_way: list[asyncio.Task[str]] = []
        self.failed = False

    async def write(self, piece: bytes) -> None:
        """Take the next bytes, or after a cancellation a part of them."""
        progress, view = self._progress, memoryview(piece)
        while view:
            room = view[: PART - len(progress.tail)]
            progress.tail += room
            progress.unhashed += len(room)
            view = view[len(room) :]
            if len(progress.tail) == PART:
                await whole(self._send_tail())

    async def _send_tail(self) -> None:
        try:
            await self._send()
        except BaseException:
            self.failed = True
            raise

    async def _send(self) -> None:
        progress = self._progress
        if len(progress.etags) + len(self._under_way) >= _MOST_PARTS - 1:
            raise StorageFull("The blob is larger than S3 takes in parts of 8 MiB.", hint="Make the layer smaller.")
        if not progress.multipart:
            progress.multipart = await self._multipart.create(keys.data(progress.name))
        await progress.digest()
        if len(self._under_way) >= _IN_FLIGHT:
            await self._oldest()
        part, progress.tail = progress.tail, bytearray()
        number = len(progress.etags) + len(self._under_way) + 1
        sending = self._multipart.put_part(keys.data(progress.name), progress.multipart, number, part)
        self._under_way.append(asyncio.create_task(sending))

    async def _oldest(self) -> None:
        self._progress.etags.append(await self._under_way[0])
        del self._under_way[0]

    async def settle(self) -> None:
        """Wait until all parts are there. Raises what went wrong with one of them, when none is under way."""
        try:
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
