"""The logs of builds: one append-only file an attempt.

<folder>/
  <build id>/
    <attempt>.jsonl      lines as model/builds/log.py writes them
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import BinaryIO
from weakref import WeakValueDictionary

from lumper.errors import LogGap, StorageError, StorageFull
from lumper.system.full_disk import no_space_left

_CHUNK = 256 * 1024


class Logs(ABC):
    """All logs, by build and attempt. Offsets and sizes are in bytes."""

    def __init__(self) -> None:
        self._waiting: WeakValueDictionary[int, asyncio.Event] = WeakValueDictionary()  # by build, while one waits
        self.wakes = 0
        """How often somebody called `wake`."""

    @abstractmethod
    async def size(self, build_id: int, attempt: int) -> int:
        """How many bytes of log there are."""

    @abstractmethod
    async def append(self, build_id: int, attempt: int, offset: int, data: bytes) -> None:
        """Write `data` at `offset`; what is there already is not written again.

        Raises LogGap when bytes before `offset` are missing, StorageFull, StorageError.
        """

    @abstractmethod
    def read(self, build_id: int, attempt: int, offset: int = 0) -> AsyncGenerator[bytes]:
        """Chunks of the log from `offset` to its present end.

        A log that is removed meanwhile is read to its end all the same, or raises NotFound: it is never cut silently.
        """

    @abstractmethod
    async def delete(self, build_id: int, last: int) -> None:
        """Remove the logs of a build's attempts up to `last`. No error if there are none."""

    @abstractmethod
    async def sizes(self) -> dict[int, int]:
        """How many bytes of log there are of each build that has any, of all its attempts."""

    async def tail(self, build_id: int, attempt: int, limit: int) -> bytes:
        """Whole lines of at most the last `limit` bytes."""
        start = max(0, await self.size(build_id, attempt) - limit)
        data = b"".join([chunk async for chunk in self.read(build_id, attempt, start)])
        return data if not start else data.partition(b"\n")[2]

    async def wait(self, build_id: int, attempt: int, offset: int, longest: float, wakes: int) -> None:
        """Until the log is longer than `offset`, `wakes` are more, or `longest` seconds have passed; at times sooner.

        Who looks at a build beside its log asks for `wakes` before: its end may come between that and this call.
        """
        grown = self._waiting.setdefault(build_id, asyncio.Event())
        if self.wakes != wakes or await self.size(build_id, attempt) > offset:
            return
        try:
            async with asyncio.timeout(longest):
                await grown.wait()
        except TimeoutError:
            pass

    def grew(self, build_id: int) -> None:
        """Let those look again who wait for this build: its log has grown."""
        if grown := self._waiting.pop(build_id, None):
            grown.set()

    def wake(self) -> None:
        """Let all who wait look again: a build has ended."""
        self.wakes += 1
        for build_id in list(self._waiting):
            self.grew(build_id)


class FolderLogs(Logs):
    """The folder of logs. One process writes; any may read."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    def _path(self, build_id: int, attempt: int) -> Path:
        return self._folder / str(build_id) / f"{attempt}.jsonl"

    async def size(self, build_id: int, attempt: int) -> int:
        """How many bytes of log there are."""
        try:
            return self._path(build_id, attempt).stat().st_size
        except FileNotFoundError:
            return 0

    async def append(self, build_id: int, attempt: int, offset: int, data: bytes) -> None:
        """Write `data` at `offset`; what is there already is not written again.

        Raises LogGap when bytes before `offset` are missing, StorageFull, StorageError.
        """
        await asyncio.to_thread(self._write, self._path(build_id, attempt), offset, data)
        self.grew(build_id)

    def _write(self, path: Path, offset: int, data: bytes) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab") as file:
                size = os.fstat(file.fileno()).st_size
                if offset > size:
                    raise LogGap(f"{path.name} ends at {size}, the chunk begins at {offset}.")
                file.write(data[size - offset :])
        except OSError as exc:
            if no_space_left(exc):
                raise StorageFull() from exc
            raise StorageError(f"The log {path} cannot be written: {exc.strerror}.") from exc

    async def read(self, build_id: int, attempt: int, offset: int = 0) -> AsyncGenerator[bytes]:
        """Chunks of the log from `offset` to its present end."""
        path = self._path(build_id, attempt)
        try:
            file, chunk = await asyncio.to_thread(_opened, path, offset)
            with file:
                while chunk:
                    yield chunk
                    chunk = await asyncio.to_thread(file.read, _CHUNK) if len(chunk) == _CHUNK else b""
        except FileNotFoundError:
            return

    async def delete(self, build_id: int, last: int) -> None:
        """Remove the logs of a build's attempts up to `last`. No error if there are none."""

        def remove() -> None:
            folder = self._folder / str(build_id)
            for path in folder.glob("*.jsonl"):
                if int(path.stem) <= last:
                    path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # a later attempt has a log there
                folder.rmdir()

        await asyncio.to_thread(remove)

    async def sizes(self) -> dict[int, int]:
        """How many bytes of log there are of each build that has any, of all its attempts."""

        def measure() -> dict[int, int]:
            sizes: dict[int, int] = {}
            for path in self._folder.glob("*/*.jsonl"):
                with contextlib.suppress(FileNotFoundError, ValueError):
                    build_id = int(path.parent.name)
                    sizes[build_id] = sizes.get(build_id, 0) + path.stat().st_size
            return sizes

        return await asyncio.to_thread(measure)


def _opened(path: Path, offset: int) -> tuple[BinaryIO, bytes]:
    """The file, and its first chunk from `offset`: most often that is all, and one visit to a thread."""
    file = path.open("rb")
    file.seek(offset)
    return file, file.read(_CHUNK)
