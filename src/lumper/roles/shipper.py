"""The way of a build's log from the worker to the server: through a spool file, in chunks, never clipped.

What the engine reports is written to the spool, so that memory stays flat however fast a build prints and however
long the queue is away; a task beside it publishes what has come.
"""

from __future__ import annotations

import asyncio
import errno
import os
import uuid
from pathlib import Path
from types import TracebackType

from lumper.errors import StorageError, StorageFull
from lumper.model.build import Progress
from lumper.model.events import EVENTS, LogChunk
from lumper.model.log import to_line
from lumper.queue.codec import encode
from lumper.queue.port import Broker, Message
from lumper.roles.base import persist

_CHUNK = 192 * 1024
_BUFFER = 64 * 1024  # characters that wait in memory for the spool
_PAUSE = 0.1  # seconds in which lines are gathered: a person does not see the difference


class LogShipper:
    """An async context: `report` what happens inside; on leaving, all of it was published.

    When the block is cancelled, what was not published yet is dropped: nobody waits for it. `size` is what was spooled,
    in bytes; `failure` is why the spool takes no more. Raises StorageFull, StorageError when the spool cannot be made.
    """

    def __init__(self, broker: Broker, spool: Path, build_id: int, attempt: int, claim: str) -> None:
        self._broker = broker
        self._path = spool / f"{build_id}-{attempt}-{claim}.jsonl"
        self._build = (build_id, attempt, claim)
        try:
            self._file = self._path.open("wb+", buffering=0)
        except OSError as exc:
            raise self._trouble(exc) from exc
        self._more = asyncio.Event()
        self._closing = False
        self._buffer: list[str] = []
        self._buffered = 0
        self.size = 0
        self.failure: StorageError | None = None
        self._sent = 0

    def report(self, record: Progress) -> None:
        """Take one record. Call it from the event loop's thread only. Raises StorageFull, StorageError."""
        line = to_line(record)
        self._buffer.append(line)
        self._buffered += len(line)
        if self._buffered >= _BUFFER:
            self._spill()
        self._more.set()
        if self.failure is not None:
            raise self.failure

    async def __aenter__(self) -> LogShipper:
        self._task = asyncio.create_task(self._ship())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._closing = True
        self._more.set()
        dropped = kind is not None and issubclass(kind, asyncio.CancelledError)
        if dropped:
            self._task.cancel()
        try:
            await asyncio.gather(self._task, return_exceptions=dropped)
        finally:
            self._file.close()
            self._path.unlink(missing_ok=True)

    async def _ship(self) -> None:
        while not (self._closing and not self._buffer and self._sent == self.size):
            if not self._buffer and self._sent == self.size:
                await self._more.wait()
                self._more.clear()
                continue
            self._spill()
            await self._publish()
            if not self._closing:
                await self._pause()

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(_PAUSE):
                while not self._closing:
                    await self._more.wait()
                    self._more.clear()
                    self._spill()
        except TimeoutError:
            self._more.set()

    def _spill(self) -> None:
        data = "".join(self._buffer).encode("ascii")
        self._buffer.clear()
        self._buffered = 0
        written = 0
        try:
            while written < len(data) and self.failure is None:
                written += os.pwrite(self._file.fileno(), data[written:], self.size + written)
        except OSError as exc:
            self.failure = self._trouble(exc)
        else:
            self.size += written

    def _trouble(self, exc: OSError) -> StorageError:
        if exc.errno in (errno.ENOSPC, errno.EDQUOT):
            return StorageFull(f"There is no space left on the worker, in {self._path.parent}.")
        return StorageError(f"The log cannot be kept in {self._path}: {exc.strerror}.")

    async def _publish(self) -> None:
        while self._sent < self.size:
            data = os.pread(self._file.fileno(), min(_CHUNK, self.size - self._sent), self._sent)
            chunk = LogChunk(*self._build, offset=self._sent, data=data.decode("ascii"))
            message = Message(uuid.uuid4().hex, EVENTS, encode(chunk))
            await persist(lambda message=message: self._broker.publish([message]), "log")  # type: ignore[misc]
            self._sent += len(data)
