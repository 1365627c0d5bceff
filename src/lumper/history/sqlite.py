"""The database in a file, for one process: SQLite.

WAL with full synchronisation, so that a commit survives a power cut; every write transaction begins with BEGIN
IMMEDIATE, because a deferred one may fail when it turns from reading to writing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, create_engine, event
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

_BUSY_TIMEOUT_MS = 30_000

_T = TypeVar("_T")


class Sqlite:
    """What is SQLite's own of the ways to the tables."""

    shared = False
    hears = True  # nobody else changes anything

    def __init__(self, url: URL) -> None:
        self._engine = create_async_engine(url, pool_size=8, max_overflow=8)
        _prepare(self._engine)
        self._writer = self._engine.execution_options(lumper_write=True)
        self._hot = _Hot(url)
        self._held: set[str] = set()

    def write(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A transaction that is alone in writing."""
        return self._writer.begin()

    def read(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A snapshot."""
        return self._engine.connect()

    async def hot(self, work: Callable[[Connection], _T], changes: Set[tuple[str, str]]) -> _T:
        """A write transaction in one thread."""
        return await self._hot.run(work)

    async def tell(self, connection: AsyncConnection, changes: Set[tuple[str, str]]) -> None:
        """Nobody else is there."""

    async def listen(self, heard: Callable[[Set[tuple[str, str]], bool], None], lost: Callable[[], None]) -> None:
        """Nobody else is there."""

    @asynccontextmanager
    async def alone(self, name: str) -> AsyncIterator[bool]:
        """Whether nobody else has this name at the moment."""
        if name in self._held:
            yield False
            return
        self._held.add(name)
        try:
            yield True
        finally:
            self._held.discard(name)

    async def about(self) -> str:
        """Its kind."""
        return "SQLite"

    @contextmanager
    def migrating(self) -> Iterator[Connection]:
        """A connection that makes the schema."""
        engine = create_engine(_plain(self._engine.url))
        try:
            with engine.connect() as connection:
                yield connection
        finally:
            engine.dispose()

    async def close(self) -> None:
        """Close all connections. Idempotent; without it the process does not end."""
        await self._hot.close()
        await self._engine.dispose()


class _Hot:
    """A second way into the file: one connection, one thread."""

    def __init__(self, url: URL) -> None:
        self._engine = create_engine(_plain(url), pool_size=1, max_overflow=0)
        event.listen(self._engine, "connect", _set_up)
        event.listen(self._engine, "begin", _begin)
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


def _plain(url: URL) -> URL:
    return url.set(drivername="sqlite")


def _prepare(engine: AsyncEngine) -> None:
    event.listen(engine.sync_engine, "connect", _set_up)
    event.listen(engine.sync_engine, "begin", _begin)


def _set_up(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # transactions are begun by _begin alone
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


def _begin(connection: Any) -> None:
    writes = connection.get_execution_options().get("lumper_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
