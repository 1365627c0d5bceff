"""The database in a file, for one process: SQLite.

WAL with full synchronisation, so that a commit survives a power cut; every write transaction begins with BEGIN
IMMEDIATE, because a deferred one may fail when it turns from reading to writing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Coroutine, Iterator, Sequence, Set
from contextlib import AbstractAsyncContextManager, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, Executable, Row, create_engine, event

from lumper.errors import DatabaseBroken
from lumper.store import schema
from lumper.store.connection import AsyncConnection, Connections
from lumper.system.named_locks import LocalLocks
from lumper.system.secret_files import private

_BUSY_TIMEOUT_MS = 30_000
_READERS = 8

_T = TypeVar("_T")


class Sqlite:
    """What is SQLite's own of the ways to the tables."""

    shared = False
    hears = True  # nobody else changes anything

    def __init__(self, url: URL) -> None:
        self._url = url.set(drivername="sqlite")
        if url.database and url.database != ":memory:":
            private(Path(url.database))
        self._readers = Connections(_engine(self._url, _READERS, "BEGIN"), _READERS, _interrupt, quick_end=True)
        self._writer = Connections(_engine(self._url, 1, "BEGIN IMMEDIATE"), 1, _interrupt)
        self.alone = LocalLocks()

    def write(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A transaction that is alone in writing."""
        return self._writer.connect(commit=True)

    async def at_once(self, work: Callable[[AsyncConnection], Coroutine[Any, Any, _T]]) -> _T:
        """The same in one visit to a thread."""
        return await self._writer.at_once(work)

    def read(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A snapshot."""
        return self._readers.connect()

    async def rows(self, query: Executable) -> Sequence[Row[Any]]:
        """A snapshot of its own."""
        return await self._readers.rows(query)

    async def hot(self, work: Callable[[Connection], _T], changes: Set[tuple[str, str]]) -> _T:
        """A write transaction in one thread."""
        return await self._writer.transaction(work)

    async def end(
        self, connection: AsyncConnection, last: Callable[[Connection], None] | None, changes: Set[tuple[str, str]]
    ) -> None:
        """Do what is last. Nobody else is there who would have to know."""
        if last is not None:
            await connection.run_sync(last)

    async def listen(self, heard: Callable[[Set[tuple[str, str]], bool], None], lost: Callable[[], None]) -> None:
        """Nobody else is there."""

    async def about(self) -> str:
        """Its kind."""
        return "SQLite"

    @contextmanager
    def migrating(self) -> Iterator[Connection]:
        """A connection that makes the schema, a whole step of it or nothing."""
        engine = _engine(self._url, 1, "BEGIN IMMEDIATE", foreign_keys="OFF")  # a table may be replaced by a new one
        try:
            with engine.connect() as connection:
                yield connection
        finally:
            engine.dispose()

    async def close(self) -> None:
        """Close all connections. Idempotent; without it the process does not end."""
        await self._writer.close()
        await self._readers.close()


def look(path: Path) -> str:
    """What `Database.about` tells of the database in this file, made or not; nothing is written beside it.

    Whoever asks may be somebody else than the server, which could not use files that this one makes. Raises Invalid,
    DatabaseFailed.
    """
    if not path.exists():
        return "SQLite, not made yet"
    # without its index the log of a file that nobody uses would have to be read by writing one
    used = path.with_name(f"{path.name}-shm").exists()
    uri = f"file:{quote(str(path.absolute()))}?{'mode=ro' if used else 'immutable=1'}"
    try:
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            made = connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (schema.TABLE,)).fetchone()
            found = connection.execute(schema.FOUND).fetchone() if made else None
    except sqlite3.Error as exc:
        raise DatabaseBroken(f"{path} cannot be read: {exc}.") from exc
    schema.check(found[0] if found else None)
    return "SQLite"


def _engine(url: URL, most: int, begin: str, foreign_keys: str = "ON") -> Engine:
    engine = create_engine(url, pool_size=most, max_overflow=0, connect_args={"check_same_thread": False})
    event.listen(engine, "connect", partial(_set_up, foreign_keys))
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(begin))
    return engine


def _interrupt(connection: sqlite3.Connection) -> None:
    connection.interrupt()


def _set_up(foreign_keys: str, connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # transactions are begun by the event alone
    cursor = connection.cursor()
    for pragma in (
        f"busy_timeout={_BUSY_TIMEOUT_MS}",
        "journal_mode=WAL",
        "synchronous=FULL",
        f"foreign_keys={foreign_keys}",
        "cache_size=-2000",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
