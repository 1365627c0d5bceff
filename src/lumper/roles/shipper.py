"""The way of a build's log from the worker to the server: through a spool file, in chunks, never clipped.

What the engine reports is written to the spool, so that memory stays flat however fast a build prints and however
long the queue is away; a task beside it publishes what has come.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import uuid
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from lumper.errors import StorageError, StorageFull
from lumper.logs import get_logger
from lumper.model.builds.build import Output, Progress, Step
from lumper.model.builds.log import LARGEST_CHUNK, pack, to_line
from lumper.model.builds.masking import Masker
from lumper.model.events import EVENTS, LogChunk
from lumper.queue.codec import encode
from lumper.queue.port import Broker, Message
from lumper.roles.base import persist
from lumper.system.full_disk import no_space_left

log = get_logger(__name__)

_RECORD = 50  # characters of a record that are not its text
_BUFFER = 64 * 1024  # characters that wait in memory for the spool
_PAUSE = 0.1  # seconds in which lines are gathered: a person does not see the difference
_LONGEST_PAUSE = 0.4  # the same for a log that goes on: each piece takes the server a dozen visits to its disk


class LogShipper:
    """An async context: `report` what happens inside; on leaving, all of it was published.

    When the block is cancelled, what was not published yet is dropped: nobody waits for it. `size` is what was spooled,
    in bytes; `failure` is why the spool takes no more. `masker` hides secrets; behind `limit` bytes (0: there is none)
    the log says that it is full and goes on with the steps alone. Raises StorageFull, StorageError when the spool
    cannot be made.
    """

    def __init__(
        self,
        broker: Broker,
        spool: Path,
        build_id: int,
        attempt: int,
        claim: str,
        masker: Masker | None = None,
        limit: int = 0,
    ) -> None:
        self._broker = broker
        self._masker = masker or Masker()
        self._limit = limit
        self._full = False
        self._path = spool / f"{build_id}-{attempt}-{claim}.jsonl"
        self._build = (build_id, attempt, claim)
        try:
            self._file = self._path.open("wb+", buffering=0)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # for as long as this process has it: take_left
        except OSError as exc:
            raise self._trouble(exc) from exc
        self._more = asyncio.Event()
        self._closing = False
        self._buffer: list[Progress] = []
        self._buffered = 0
        self.size = 0
        self.failure: StorageError | None = None
        self._sent = 0

    def report(self, record: Progress) -> None:
        """Take one record. Call it from the event loop's thread only. Raises StorageFull, StorageError."""
        self._buffer.append(record)
        self._buffered += _RECORD + len(record.text if isinstance(record, Output) else record.name)
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
        self._spill()
        self._write(self._masker.finish())
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
        pause = _PAUSE
        while not (self._closing and not self._buffer and self._sent == self.size):
            if not self._buffer and self._sent == self.size:
                await self._more.wait()
                self._more.clear()
                continue
            self._spill()
            await self._publish()
            if not self._closing:
                await self._pause(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                while not self._closing:
                    await self._more.wait()
                    self._more.clear()
                    self._spill()
        except TimeoutError:
            self._more.set()

    def _spill(self) -> None:
        records = self._masker.feed(self._buffer)
        self._buffer.clear()
        self._buffered = 0
        self._write(records)

    def _write(self, records: list[Progress]) -> None:
        data = "".join(map(to_line, self._kept(records))).encode("ascii")
        written = 0
        try:
            while written < len(data) and self.failure is None:
                written += os.pwrite(self._file.fileno(), data[written:], self.size + written)
        except OSError as exc:
            self.failure = self._trouble(exc)
        else:
            self.size += written

    def _kept(self, records: list[Progress]) -> list[Progress]:
        """The records, or, once the log is as long as it may become, what tells that, and the steps from then on."""
        if not self._full and (not self._limit or self.size < self._limit):
            return records
        steps = [record for record in records if isinstance(record, Step)]
        output = next((record for record in records if isinstance(record, Output)), None)
        if self._full or output is None:
            return [*steps]
        self._full = True
        notice = f"[the log is longer than {self._limit:,} bytes: what steps print from here on is not kept]"
        log.warning("a log is too long", action="log.full", build=self._build[0], limit=self._limit)
        return [replace(output, stream=0, text=notice), *steps]

    def _trouble(self, exc: OSError) -> StorageError:
        if no_space_left(exc):
            return StorageFull(f"There is no space left on the worker, in {self._path.parent}.")
        return StorageError(f"The log cannot be kept in {self._path}: {exc.strerror}.")

    async def _publish(self) -> None:
        while self._sent < self.size:
            data = os.pread(self._file.fileno(), min(LARGEST_CHUNK, self.size - self._sent), self._sent)
            chunk = LogChunk(*self._build, offset=self._sent, data=pack(data))
            message = Message(uuid.uuid4().hex, EVENTS, encode(chunk))
            await persist(lambda message=message: self._broker.publish([message], durable=False), "log")  # type: ignore[misc]
            self._sent += len(data)


def take_left(spool: Path) -> set[tuple[int, int]]:
    """Remove what shippers that were killed have left; builds and attempts whose logs these are. Blocking.

    Those of other workers that live are not taken for such, should they share the folder.
    """
    found = set()
    for path in spool.glob("*.jsonl"):
        with contextlib.suppress(OSError, ValueError), path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink(missing_ok=True)
            build_id, attempt, _ = path.name.split("-")
            found.add((int(build_id), int(attempt)))
    return found
