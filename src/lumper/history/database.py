"""The database: one engine, write transactions that take their lock at once, and the schema's version."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import event, text
from sqlalchemy.exc import DatabaseError, OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from lumper.errors import StorageError, StorageFull

HEAD = "0001"  # the newest revision in migrations/: a test holds the two together
_BUSY_TIMEOUT_MS = 30_000
_CHANGES = "lumper_changes"


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
        await self._engine.dispose()


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
