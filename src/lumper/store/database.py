"""The database: write transactions one after the other, what they changed, and the schema's version.

Only this module and the two beside it, `sqlite` and `postgresql`, know which database it is.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence, Set
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
    nullcontext,
    suppress,
)
from typing import Any, Protocol, TypeVar

from sqlalchemy import (
    URL,
    Connection,
    Executable,
    Float,
    Row,
    Table,
    make_url,
)
from sqlalchemy.exc import DatabaseError, DataError, InterfaceError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.expression import FunctionElement

from lumper.errors import DatabaseBroken, DatabaseFailed, Invalid, StorageError, StorageFull
from lumper.store import schema
from lumper.store.connection import AsyncConnection
from lumper.system.full_disk import no_space_left

_CHANGES = "lumper_changes"
_LAST = "lumper_last"
_OTHER_TABLES = ("42P01", "42703")  # undefined_table, undefined_column
_OTHER_VERSION = "Another version of Lumper has made it: use that one, or begin with another data folder or database."
_FULL_ELSEWHERE = "Free some space on the disk of PostgreSQL; nothing that was stored is lost."
_AWAY = "Check [database] url, and that PostgreSQL runs and lets this machine in."

_T = TypeVar("_T")


class _Kind(Protocol):
    """What is different from one database to the next."""

    @property
    def shared(self) -> bool: ...
    @property
    def hears(self) -> bool: ...
    def write(self) -> AbstractAsyncContextManager[AsyncConnection]: ...
    def read(self) -> AbstractAsyncContextManager[AsyncConnection]: ...
    async def at_once(self, work: Callable[[AsyncConnection], Coroutine[Any, Any, _T]]) -> _T: ...
    async def rows(self, query: Executable) -> Sequence[Row[Any]]: ...
    async def hot(self, work: Callable[[Connection], _T], changes: Set[tuple[str, str]]) -> _T: ...
    async def end(
        self, connection: AsyncConnection, last: Callable[[Connection], None] | None, changes: Set[tuple[str, str]]
    ) -> None: ...
    async def listen(self, heard: Callable[[Set[tuple[str, str]], bool], None], lost: Callable[[], None]) -> None: ...
    def alone(self, name: str) -> AbstractAsyncContextManager[bool]: ...
    async def about(self) -> str: ...
    def migrating(self) -> AbstractContextManager[Connection]: ...
    async def close(self) -> None: ...


class Database:
    """The one way to the tables. Safe to use from any task of one event loop.

    Write transactions follow one another, also those of other processes. `shared` tells whether there may be others;
    then call `listen`, and keep in memory only what was read while it `hears` of changes.
    """

    def __init__(self, url: str) -> None:
        """`url` is one of SQLAlchemy's, or postgresql://…. Raises Invalid for another one."""
        self._kind = _kind(url)
        self._on_commit: list[Callable[[], None]] = []
        self._on_change: list[tuple[str, Callable[[str | None], None]]] = []
        self._loss = asyncio.Event()

    @property
    def shared(self) -> bool:
        """Whether other processes may use this database at the same time."""
        return self._kind.shared

    @property
    def hears(self) -> bool:
        """Whether every change, also one of another process, will be heard of by `on_change`."""
        return self._kind.hears

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that may write: committed at the end of the block, rolled back by an exception.

        Raises StorageFull, StorageError.
        """
        changes: set[tuple[str, str]] = set()
        try:
            with _translating():
                async with self._kind.write() as connection:
                    connection.info[_CHANGES] = changes
                    yield connection
                    await self._kind.end(connection, connection.info.get(_LAST), changes)
        finally:  # after a failed commit too: nobody knows then what is on the disk
            self._tell(changes)
        self._committed()

    async def write_at_once(self, work: Callable[[AsyncConnection], Coroutine[Any, Any, _T]]) -> _T:
        """What `work` returns, in a transaction like one of `write`, but in one visit to a thread instead of many.

        So `work` may await nothing but its connection, and touch nothing that other threads do. Raises StorageFull,
        StorageError.
        """
        changes: set[tuple[str, str]] = set()

        async def whole(connection: AsyncConnection) -> _T:
            connection.info[_CHANGES] = changes
            result = await work(connection)
            await self._kind.end(connection, connection.info.get(_LAST), changes)
            return result

        try:
            with _translating():
                result = await self._kind.at_once(whole)
        finally:
            self._tell(changes)
        self._committed()
        return result

    async def write_hot(self, work: Callable[[Connection], _T], *, changes: Set[tuple[str, str]] = frozenset()) -> _T:
        """A write transaction that is a plain function, for what is written often; it may be done more than once.

        With SQLite all of it happens in one thread, where `write` changes threads for every statement; with PostgreSQL
        several may write at the same time. `work` inserts or overwrites rows, in an order that is the same for all. It
        may not call `changed`; `on_change` hears of the topics and keys in `changes`, `on_commit` of nothing. Raises
        StorageFull, StorageError.
        """
        try:
            with _translating():
                return await self._kind.hot(work, changes)
        finally:
            self._tell(changes)

    def on_commit(self, callback: Callable[[], None]) -> None:
        """Call `callback` after every committed write transaction, also of other processes."""
        self._on_commit.append(callback)

    def on_change(self, topic: str, callback: Callable[[str | None], None]) -> None:
        """Call `callback` with the key of every `changed(…, topic, key)` after its transaction: caches forget then.

        With None all keys may have changed.
        """
        self._on_change.append((topic, callback))

    async def listen(self) -> None:
        """Hear of what other processes change, from now on."""
        await self._kind.listen(self._heard, self._lost)

    def _heard(self, changes: Set[tuple[str, str]], hot: bool) -> None:
        self._tell(changes)
        if not hot:
            self._committed()

    def _tell(self, changes: Set[tuple[str, str]]) -> None:
        for topic, callback in self._on_change:
            for key in [key for changed_topic, key in changes if changed_topic == topic]:
                callback(key)

    @property
    def loss(self) -> asyncio.Event:
        """Set once changes may not have been heard of, or a name of `alone` was lost; then there is another one."""
        return self._loss

    def _lost(self) -> None:
        self._loss.set()
        self._loss = asyncio.Event()
        for _, callback in self._on_change:
            callback(None)
        self._committed()

    def _committed(self) -> None:
        for committed in self._on_commit:
            committed()

    @asynccontextmanager
    async def alone(self, name: str) -> AsyncIterator[bool]:
        """Whether this block is the only one with this name, in all processes. Raises StorageError.

        Once the `loss` of before is set, it may be so no longer.
        """
        with _translating():
            async with self._kind.alone(name) as mine:
                yield mine

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A snapshot to read from. Raises StorageError."""
        with _translating():
            async with self._kind.read() as connection:
                yield connection

    async def rows(self, query: Executable) -> Sequence[Row[Any]]:
        """What one query finds: quicker than `read`, which is for several in one snapshot. Raises StorageError."""
        with _translating():
            return await self._kind.rows(query)

    async def migrate(self) -> None:
        """Bring the schema to HEAD; quick when it is there already. Several processes may do so at the same time.

        Raises Invalid if another version of Lumper made it, StorageError.
        """
        async with self.read() as connection:
            current = await connection.run_sync(schema.revision)
        if current != schema.HEAD:
            with _translating():
                await asyncio.to_thread(self._upgrade)

    def _upgrade(self) -> None:
        with self._kind.migrating() as connection:
            schema.upgrade(connection)

    async def about(self) -> str:
        """Which database it is, for people. Raises StorageError, Invalid if it is not fit for use."""
        with _translating():
            async with self._kind.read() as connection:
                schema.check(await connection.run_sync(schema.revision))
            return await self._kind.about()

    async def close(self) -> None:
        """Close all connections. Idempotent; without it the process does not end."""
        await self._kind.close()


class Commits:
    """Hears of committed write transactions, also of other processes."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._heard = asyncio.Event()
        database.on_commit(self._heard.set)

    async def wait(self, longest: float) -> None:
        """Until there was one since the last call ended, or `longest` seconds have passed."""
        with suppress(TimeoutError):
            async with asyncio.timeout(longest if self._database.hears else 0.0):
                await self._heard.wait()
        self._heard.clear()


def changed(connection: AsyncConnection, topic: str, key: str) -> None:
    """Say that the transaction of `connection`, one of `Database.write`, changes this: `on_change` hears of it."""
    connection.info[_CHANGES].add((topic, key))


def at_last(connection: AsyncConnection, work: Callable[[Connection], None]) -> None:
    """Let `work`, whose statements return nothing, be the end of the transaction of `connection`, one of `Database`'s.

    Where the database is elsewhere it goes along with the commit. It may be said once.
    """
    connection.info[_LAST] = work


class epoch(FunctionElement[float]):
    """The database's own time in seconds since 1970: the same for all processes, whatever their clocks say."""

    type = Float(53)
    inherit_cache = True


@compiles(epoch, "sqlite")
def _epoch_of_sqlite(*_: Any, **__: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(epoch, "postgresql")
def _epoch_of_postgresql(*_: Any, **__: Any) -> str:
    return "CAST(extract(epoch FROM clock_timestamp()) AS double precision)"


def upsert(connection: AsyncConnection | Connection, table: Table, *keys: str, keep: Sequence[str] = ()) -> Any:
    """An INSERT that overwrites what it meets, except the columns in `keep`."""
    return _upsert_of(connection.dialect.name, table, keys, tuple(keep))


@functools.cache  # building one takes longer than executing it
def _upsert_of(dialect_name: str, table: Table, keys: tuple[str, ...], keep: tuple[str, ...]) -> Any:
    statement = _dialect(dialect_name).insert(table)
    changing = {c.name: statement.excluded[c.name] for c in table.columns if c.name not in (*keys, *keep)}
    return statement.on_conflict_do_update(index_elements=keys, set_=changing)


def together(connection: Connection) -> AbstractContextManager[None]:
    """The last statements of a transaction of `Database.write_hot` without changes; they return nothing.

    Where the database is elsewhere, they and the commit are waited for at the end of the block, and only there.
    """
    if connection.dialect.name != "postgresql":
        return nullcontext()
    from lumper.store.pipelining import commit_with

    return commit_with(connection, "")


def insert_missing(connection: AsyncConnection | Connection, table: Table) -> Any:
    """An INSERT that does nothing where there is such a row."""
    return insert_of(connection.dialect.name, table).on_conflict_do_nothing()


def insert_of(dialect_name: str, table: Table) -> Any:
    """An INSERT to which `on_conflict_do_update` can be said."""
    return _dialect(dialect_name).insert(table)


def _dialect(name: str) -> Any:
    if name == "postgresql":
        from sqlalchemy.dialects import postgresql  # two megabytes, and the engine for it has loaded it

        return postgresql
    from sqlalchemy.dialects import sqlite

    return sqlite


def _kind(url: str) -> _Kind:
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        from lumper.store.sqlite import Sqlite

        return Sqlite(parsed)
    if parsed.get_backend_name() in ("postgresql", "postgres"):
        return _postgresql(parsed)
    raise Invalid(
        f"[database] url begins with {parsed.drivername}:, and no such database is known.",
        hint="Use postgresql://USER:PASSWORD@HOST/NAME or leave it empty.",
    )


def _postgresql(url: URL) -> _Kind:
    try:
        from lumper.store.postgresql import PostgreSQL
    except ModuleNotFoundError as exc:
        hint = "Install it with `pip install '.[postgresql]'` in the checkout of Lumper."
        raise Invalid("PostgreSQL needs the Python package psycopg.", hint=hint) from exc
    return PostgreSQL(url)


@contextmanager
def _translating() -> Iterator[None]:
    try:
        yield
    except DataError as exc:
        raise Invalid(f"The database does not take this: {exc.orig}.") from exc
    except (DatabaseError, InterfaceError) as exc:
        raise _translated(exc.orig, away=exc.connection_invalidated) from exc
    except PoolTimeout as exc:
        raise DatabaseFailed("The database is too slow: no connection to it was free for half a minute.") from exc


def _translated(exc: BaseException | None, *, away: bool) -> StorageError:
    words, state = str(exc).strip(), getattr(exc, "sqlstate", "")
    if no_space_left(exc) or "No space left" in words:  # who connects is told in words only
        return StorageFull(hint=_FULL_ELSEWHERE if state or away else "")
    if away or words.startswith(("connection failed", "connection is bad", "failed to resolve", "connection timeout")):
        return DatabaseFailed(f"The database does not answer: {words}.", hint=_AWAY)
    if words.endswith(("is malformed", "is not a database")):  # of SQLite
        return DatabaseBroken(f"The database refused: {words}.")
    other = state in _OTHER_TABLES or words.startswith(("no such column", "no such table")) or "has no column" in words
    return DatabaseFailed(f"The database refused: {words}.", hint=_OTHER_VERSION if other else "")
