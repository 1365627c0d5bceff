"""The database: one engine, write transactions that take their lock at once, and the schema's version."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, create_engine, event, text
from sqlalchemy.exc import DatabaseError, OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from lumper.errors import StorageError, StorageFull

HEAD = "0001"  # the newest revision in migrations/: a test holds the two together
_BUSY_TIMEOUT_MS = 30_000
_CHANGES = "lumper_changes"

_T = TypeVar("_T")


class Database:
    """The one way to the tables. Safe to use from any task of one event loop.

    SQLite: WAL with full synchronisation, so that a commit survives a power cut; every write transaction begins with
    BEGIN IMMEDIATE, because a deferred one may fail when it turns from reading to writing.
    """

    def __init__(self, url: str) -> None:
        self._engine: AsyncEngine = create_async_engine(url, pool_size=8, max_overflow=8)
        self._writer = self._engine.execution_options(lumper_write=True)
        self._on_commit: list[Callable[[], None]] = []
        self._on_change: list[tuple[str, Callable[[str], None]]] = []
        if self._engine.dialect.name == "sqlite":
            event.listen(self._engine.sync_engine, "connect", _prepare_sqlite)
            event.listen(self._engine.sync_engine, "begin", _begin_sqlite)
        self._hot = _Hot(self._engine.url) if self._engine.dialect.name == "sqlite" else None

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that may write: committed at the end of the block, rolled back by an exception.

        Raises StorageFull, StorageError.
        """
        changes: set[tuple[str, str]] = set()
        try:
            async with self._writer.begin() as connection:
                connection.info[_CHANGES] = changes
                yield connection
        except (OperationalError, DatabaseError) as exc:
            raise _translated(exc) from exc
        finally:  # after a failed commit too: nobody knows then what is on the disk
            for topic, callback in self._on_change:
                for key in [key for changed_topic, key in changes if changed_topic == topic]:
                    callback(key)
        for committed in self._on_commit:
            committed()

    async def write_hot(self, work: Callable[[Connection], _T]) -> _T:
        """A write transaction that is a plain function, for what is written often.

        With SQLite all of it happens in one thread, where `write` changes threads for every statement. `work` may not
        call `changed`, and `on_commit` does not hear of it. Raises StorageFull, StorageError.
        """
        try:
            if self._hot is not None:
                return await self._hot.run(work)
            async with self._writer.begin() as connection:
                return await connection.run_sync(work)
        except (OperationalError, DatabaseError) as exc:
            raise _translated(exc) from exc

    def on_commit(self, callback: Callable[[], None]) -> None:
        """Call `callback` after every committed write transaction of this process."""
        self._on_commit.append(callback)

    def on_change(self, topic: str, callback: Callable[[str], None]) -> None:
        """Call `callback` with the key of every `changed(…, topic, key)` after its transaction: caches forget then."""
        self._on_change.append((topic, callback))

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A snapshot to read from. Raises StorageError."""
        try:
            async with self._engine.connect() as connection:
                yield connection
        except (OperationalError, DatabaseError) as exc:
            raise _translated(exc) from exc

    async def migrate(self) -> None:
        """Bring the schema to HEAD; quick when it is there already."""
        try:
            async with self.read() as connection:
                current = (await connection.execute(text("SELECT version_num FROM alembic_version"))).scalar()
        except StorageError:  # no such table: a new database
            current = None
        if current != HEAD:
            await asyncio.to_thread(_upgrade, self._engine.url.render_as_string(hide_password=False))

    async def close(self) -> None:
        """Close all connections. Idempotent; without it the process does not end."""
        if self._hot is not None:
            await self._hot.close()
        await self._engine.dispose()


class _Hot:
    """A second way into a SQLite file: one connection, one thread."""

    def __init__(self, url: URL) -> None:
        self._engine = create_engine(url.set(drivername="sqlite"), pool_size=1, max_overflow=0)
        event.listen(self._engine, "connect", _prepare_sqlite)
        event.listen(self._engine, "begin", _begin_sqlite)
        self._writer = self._engine.execution_options(lumper_write=True)
        self._thread = ThreadPoolExecutor(1, "database")
        self._closed = False

    async def run(self, work: Callable[[Connection], _T]) -> _T:
        """Do it in a transaction. Raises DatabaseError."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._run, work)

    def _run(self, work: Callable[[Connection], _T]) -> _T:
        with self._writer.begin() as connection:
            return work(connection)

    async def close(self) -> None:
        """End the connection and the thread, once what was begun is done. Idempotent."""
        if not self._closed:
            self._closed = True
            await asyncio.get_running_loop().run_in_executor(self._thread, self._engine.dispose)
            self._thread.shutdown(wait=False)


def changed(connection: AsyncConnection, topic: str, key: str) -> None:
    """Say that the transaction of `connection`, one of `Database.write`, changes this: `on_change` hears of it."""
    connection.info[_CHANGES].add((topic, key))


def _translated(exc: DatabaseError) -> StorageError:
    words = str(exc.orig)
    if "disk is full" in words or "No space left" in words:
        return StorageFull()
    return StorageError(f"The database refused: {words}.")


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # transactions are begun by _begin_sqlite alone
    cursor = connection.cursor()
    for pragma in (
        f"busy_timeout={_BUSY_TIMEOUT_MS}",
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        "cache_size=-4000",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Any) -> None:
    writes = connection.get_execution_options().get("lumper_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _upgrade(url: str) -> None:
    from alembic import command  # slow to import and needed once a release
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("sqlalchemy.url", url.replace("+aiosqlite", "").replace("%", "%%"))
    command.upgrade(config, HEAD)
