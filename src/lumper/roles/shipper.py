"""The way of a build's log from the worker to the server: through a spool file, in chunks, never clipped.

The engine's progress is written to the spool at once, so that memory stays flat however fast a build prints and
however long the queue is away; a task beside it publishes what has come.
"""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path
from types import TracebackType

from lumper.model.build import Progress
from lumper.model.events import EVENTS, LogChunk
from lumper.model.log import to_line
from lumper.queue.codec import encode
from lumper.queue.port import Broker, Message
from lumper.roles.base import persist

_CHUNK = 192 * 1024
_PAUSE = 0.1  # seconds in which lines are gathered: a person does not see the difference


class LogShipper:
    """An async context: `report` what happens inside; on leaving, all of it was published. `size` is in bytes."""

    def __init__(self, broker: Broker, spool: Path, build_id: int, attempt: int, claim: str) -> None:
        self._broker = broker
        self._path = spool / f"{build_id}-{attempt}-{claim}.jsonl"
        self._build = (build_id, attempt, claim)
        self._file = self._path.open("wb+", buffering=0)
        self._more = asyncio.Event()
        self._closing = False
        self._buffer: list[str] = []
        self.size = 0
        self._sent = 0

    def report(self, record: Progress) -> None:
        """Take one record. Call it from the event loop's thread only."""
        self._buffer.append(to_line(record))
        self._more.set()

    async def __aenter__(self) -> LogShipper:
        self._task = asyncio.create_task(self._ship())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._closing = True
        self._more.set()
        try:
            await self._task
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
        if self._buffer:
            data = "".join(self._buffer).encode()
            self._buffer.clear()
            self._file.seek(self.size)
            self._file.write(data)
            self.size += len(data)

    async def _publish(self) -> None:
        while self._sent < self.size:
            self._file.seek(self._sent)
            data = self._file.read(min(_CHUNK, self.size - self._sent))
            chunk = LogChunk(*self._build, offset=self._sent, data=data.decode("ascii"))
            message = Message(uuid.uuid4().hex, EVENTS, encode(chunk))
            await persist(lambda message=message: self._broker.publish([message]), "log")  # type: ignore[misc]
            self._sent += len(data)
