"""The queue's database file: one thread, one connection, and transactions that many callers share.

    message   what waits, is delayed, or is in somebody's hands
              visible_at   0: now · else seconds since the epoch: not before (a delay), or the end of a lease
              holder       who has it in hand (sqlite_holder.py), or NULL
    dead      what was put aside, with the reason

Commits are what costs time, so everything that is asked for while one is under way goes into the next. Only what must
survive a power cut waits for the disk (`synchronous=FULL`); an answer that a power cut takes back means a message that
is delivered again, which at-least-once delivery allows. A killed process loses neither.
https://www.sqlite.org/wal.html · https://www.sqlite.org/pragma.html#pragma_synchronous
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from lumper.errors import QueueError, QueueUnavailable, StorageFull
from lumper.system.full_disk import no_space_left
from lumper.system.secret_files import private

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

_BUSY_TIMEOUT = 5.0  # seconds; a publisher is promised an answer within ten
_JOURNAL_LIMIT = 16 << 20  # bytes that the write-ahead log keeps after a rush
SCHEMA = """
CREATE TABLE IF NOT EXISTS message (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    topic TEXT NOT NULL,
    id TEXT NOT NULL,
    body BLOB NOT NULL,
    visible_at REAL NOT NULL DEFAULT 0,
    holder TEXT,
    deliveries INTEGER NOT NULL DEFAULT 0,
    reason TEXT NOT NULL DEFAULT '',
    UNIQUE (topic, id)
);
CREATE INDEX IF NOT EXISTS message_next ON message (topic, visible_at);
CREATE INDEX IF NOT EXISTS message_held ON message (holder) WHERE holder IS NOT NULL;
CREATE TABLE IF NOT EXISTS dead (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    topic TEXT NOT NULL,
    id TEXT NOT NULL,
    body BLOB NOT NULL,
    reason TEXT NOT NULL,
    deliveries INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS dead_topic ON dead (topic);
"""


@dataclass
class _Asked:
    """One caller's part of the next transaction."""

    work: Work[Any]
    answer: asyncio.Future[Any]
    durable: bool


class QueueFile:
    """Runs functions inside write transactions of the file, in a thread of its own.

    Every method raises QueueUnavailable when the file cannot be used now, and QueueError when it never can.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._wal = path.with_name(f"{path.name}-wal")
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="lumper-queue")
        self._connection: sqlite3.Connection | None = None
        self._synchronous = ""
        self._asked: list[_Asked] = []
        self._running: asyncio.Task[None] | None = None
        self._closed = False

    def written(self) -> tuple[int, int]:
        """What differs once anyone has committed something, but for what comes within the same few milliseconds.

        It takes microseconds, and no thread.
        """
        try:
            found = self._wal.stat()
        except OSError:  # nothing was written since it was opened
            return 0, 0
        return found.st_mtime_ns, found.st_size

    async def write(self, work: Work[T], *, durable: bool = False) -> T:
        """What `work` returns, after its transaction is committed (and on the disk, if `durable`)."""
        if self._closed:
            raise QueueUnavailable("The queue was closed.", hint="Lumper is stopping.")
        asked = _Asked(work, asyncio.get_running_loop().create_future(), durable)
        self._asked.append(asked)
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        result: T = await asked.answer
        return result

    async def read(self, work: Work[T]) -> T:
        """What `work` returns, without a lock."""
        return await self._call(lambda: work(self._open()))

    async def write_unless(self, known: Work[T | None], work: Work[T]) -> T:
        """What `known`, which is asked without a lock, returns; if that is None, what `work` returns."""
        return await self._call(lambda: self._write_unless(known, work))

    async def close(self) -> None:
        """Finish what was asked for, then close the file. Idempotent."""
        self._closed = True
        if self._running is not None:
            await self._running
        await asyncio.to_thread(self._close)

    async def _call(self, call: Callable[[], T]) -> T:
        if self._closed:
            raise QueueUnavailable("The queue was closed.", hint="Lumper is stopping.")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, call)
        except Exception as exc:
            raise _error(self._path, exc) from exc

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while self._asked:
            asked, self._asked = self._asked, []
            for part, result in zip(
                asked, await loop.run_in_executor(self._executor, self._transact, asked), strict=True
            ):
                if part.answer.cancelled():
                    continue
                if isinstance(result, QueueError):
                    part.answer.set_exception(result)
                else:
                    part.answer.set_result(result)
        self._running = None

    def _transact(self, asked: list[_Asked]) -> list[Any]:
        """The results in order; a part that failed has its error in its place."""
        try:
            return self._in_one_transaction([part.work for part in asked], durable=any(part.durable for part in asked))
        except Exception as exc:  # noqa: BLE001 - whatever it is: nobody may wait for an answer for ever
            if len(asked) == 1:
                error = _error(self._path, exc)
                error.__cause__ = exc
                return [error]
        return [result for part in asked for result in self._transact([part])]

    def _write_unless(self, known: Work[T | None], work: Work[T]) -> T:
        if (found := known(self._open())) is not None:
            return found
        result: T = self._in_one_transaction([work], durable=False)[0]
        return result

    def _in_one_transaction(self, works: list[Work[Any]], *, durable: bool) -> list[Any]:
        connection = self._open()
        self._synchronise("FULL" if durable else "NORMAL")
        connection.execute("BEGIN IMMEDIATE")
        try:
            results = [work(connection) for work in works]
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return results

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            private(self._path)
            connection = sqlite3.connect(self._path, _BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)
            try:
                connection.execute("PRAGMA journal_mode=WAL")
                connection.execute("PRAGMA cache_size=-2000")
                connection.execute(f"PRAGMA journal_size_limit={_JOURNAL_LIMIT}")
                connection.executescript("BEGIN IMMEDIATE;" + SCHEMA + "COMMIT;")
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _synchronise(self, mode: str) -> None:
        if self._synchronous != mode:
            self._open().execute(f"PRAGMA synchronous={mode}")
            self._synchronous = mode

    def _close(self) -> None:
        self._executor.shutdown()
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _error(path: Path, exc: Exception) -> QueueError:
    if isinstance(exc, ValueError):  # a text that is no Unicode
        return QueueError(f"The queue cannot store this message: {exc}.")
    if no_space_left(exc):
        return QueueUnavailable(f"The disk is full: the queue {path} cannot grow.", hint=StorageFull.default_hint)
    code = getattr(exc, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code == sqlite3.SQLITE_CANTOPEN and not path.parent.is_dir():
        return QueueUnavailable(
            f"The queue {path} cannot be opened: there is no folder {path.parent}.", hint="Make it."
        )
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return QueueUnavailable(f"The queue {path} is busy.", hint="Does another program hold the file locked?")
    if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        return QueueError(
            f"The queue {path} is damaged or is no queue: {exc}.", hint="Move the file away and start Lumper again."
        )
    return QueueUnavailable(
        f"The queue {path} cannot be used: {exc}.", hint="Check the disk and the file's permissions."
    )
