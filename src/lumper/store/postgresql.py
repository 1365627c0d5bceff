"""The database that several server processes share: PostgreSQL.

Who writes does so alone, as with SQLite: `write` begins by taking a lock of the whole database, so that no transaction
of ours ever has to be repeated because of another one, and what is read in it is still true when it commits. `hot`
shares that lock with other `hot` ones, which only insert or overwrite rows. A lock goes with its connection, so a
server that is killed leaves none behind.

What a transaction changed is told with its commit by NOTIFY; every other process hears of it within milliseconds. One
that has lost its connection knows nothing for certain until it listens again.

Source: PostgreSQL, "Explicit Locking" (13.3.5, Advisory Locks), and NOTIFY.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence, Set
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Any, LiteralString, TypeVar

import psycopg
from sqlalchemy import URL, Connection, Executable, Row, create_engine, event
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.pool import ConnectionPoolEntry

from lumper.errors import Invalid
from lumper.logs import get_logger
from lumper.store.connection import AsyncConnection, Connections
from lumper.store.dead_connections import answering, at_most, cut
from lumper.store.pipelining import COMMITTING, Beginnings, commit_with
from lumper.store.session_locks import SessionLocks, key_of

log = get_logger(__name__)

_T = TypeVar("_T")
_CHANNEL: LiteralString = "lumper"
_MOST_BYTES = 7_000  # of a notification; PostgreSQL takes less than 8,000
_ALIVE_SECONDS = 5.0  # between two looks whether the connection still is one
_CONNECT_SECONDS = 10
_PAUSE_SECONDS = 0.5
_TRIES = 5
_CONNECTIONS = 16
_TRUSTED_SECONDS = 1.0  # since it was used last, a connection is believed to be one without asking
_CANCEL_SECONDS = 5.0
_COMMIT_SECONDS = 60.0  # without an answer: a synchronous standby may be away for ever
_AGAIN = ("40001", "40P01")  # serialization_failure, deadlock_detected
# A server that lost its power must not hold the lock for ever, nor anyone wait for it without an end.
_OPTIONS = "-c lock_timeout=30s -c idle_in_transaction_session_timeout=60s -c client_encoding=UTF8"
_KEEP_ALIVE = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 20_000}


class PostgreSQL:
    """What is PostgreSQL's own of the ways to the tables."""

    shared = True

    def __init__(self, url: URL) -> None:
        options = f"{_OPTIONS} {url.query.get('options', '')}".strip()
        self._url = url.difference_update_query(["options"]).set(drivername="postgresql+psycopg")
        self._arguments: dict[str, Any] = {
            "options": options,
            "connect_timeout": _CONNECT_SECONDS,
            "application_name": "lumper",
            **_KEEP_ALIVE,
        }
        engine = create_engine(
            self._url,
            pool_size=_CONNECTIONS,
            max_overflow=0,
            pool_use_lifo=True,  # few stay in use, with the statements that they know
            isolation_level="AUTOCOMMIT",  # BEGIN goes along with the lock, and not before it
            connect_args=self._arguments,
        )
        self._made: dict[psycopg.Connection[Any], dict[Any, Any]] = {}
        event.listen(engine, "connect", lambda made, record: self._made.update({made: record.info}))
        event.listen(engine, "close", lambda made, _: self._made.pop(made, None))
        self._connections = Connections(engine, _CONNECTIONS, _interrupt)
        event.listen(engine, "checkin", _used)
        event.listen(engine, "checkout", _look)  # what was dropped is not asked
        beginnings = Beginnings(engine)
        begin, lock = "BEGIN ISOLATION LEVEL READ COMMITTED", f"({key_of('write')})"
        self._writer = beginnings.with_words(begin, f"SELECT pg_advisory_xact_lock{lock}")
        self._hot = beginnings.with_words(begin, f"SELECT pg_advisory_xact_lock_shared{lock}")
        self._reader = beginnings.with_words("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        self._name = secrets.token_hex(8)
        self._locks = SessionLocks(self._connect)
        self._listening: asyncio.Future[Any] | None = None
        self.hears = False

    def write(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A transaction that is alone in writing."""
        return self._connections.connect(self._writer, commit=True)

    async def at_once(self, work: Callable[[AsyncConnection], Coroutine[Any, Any, _T]]) -> _T:
        """The same in one visit to a thread."""
        return await self._connections.at_once(work, self._writer)

    def read(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A snapshot. It ends by COMMIT, since psycopg gives up all prepared statements after a ROLLBACK."""
        return self._connections.connect(self._reader, commit=True)

    async def rows(self, query: Executable) -> Sequence[Row[Any]]:
        """A snapshot of its own: a statement without a transaction is one to PostgreSQL."""
        return await self._connections.rows(query)

    async def hot(self, work: Callable[[Connection], _T], changes: Set[tuple[str, str]]) -> _T:
        """A write transaction beside others of its kind; it is repeated when it and another one wait for each other."""

        def whole(connection: Connection) -> _T:
            done = work(connection)
            if changes:
                self._notify(connection, changes, hot=True)
            return done

        for left in reversed(range(_TRIES)):
            try:
                return await self._connections.transaction(whole, self._hot)
            except DBAPIError as exc:
                if not left or getattr(exc.orig, "sqlstate", None) not in _AGAIN:
                    raise
        raise AssertionError  # the last try returns or raises

    async def end(
        self, connection: AsyncConnection, last: Callable[[Connection], None] | None, changes: Set[tuple[str, str]]
    ) -> None:
        """Do what is last, commit this transaction, and let the other processes know what it changed."""
        await connection.run_sync(self._notify, changes, last, hot=False)

    def _notify(
        self,
        connection: Connection,
        changes: Set[tuple[str, str]],
        last: Callable[[Connection], None] | None = None,
        *,
        hot: bool,
    ) -> None:
        messages = [json.dumps({"from": self._name, "changes": some, "hot": hot}) for some in _packed(changes)]
        with commit_with(connection, "SELECT pg_notify(%s, %s)", [(_CHANNEL, message) for message in messages]):
            if last is not None:
                last(connection)

    async def listen(self, heard: Callable[[Set[tuple[str, str]], bool], None], lost: Callable[[], None]) -> None:
        """Call `heard` with what each transaction of another process changed, `lost` when some may have been missed.

        Returns when it listens; it goes on until `close`.
        """
        if self._listening is None:
            ready = asyncio.Event()
            self._listening = asyncio.gather(self._listen(heard, lost, ready), self._watch_locks(lost))
            await ready.wait()

    async def _listen(
        self, heard: Callable[[Set[tuple[str, str]], bool], None], lost: Callable[[], None], ready: asyncio.Event
    ) -> None:
        while True:
            before = list(self._made)
            try:
                async with await self._connect() as connection:
                    before.clear()
                    with answering(connection):
                        await connection.execute(f"LISTEN {_CHANNEL}")
                    lost()
                    self.hears = True
                    ready.set()
                    while True:
                        async for notification in connection.notifies(timeout=_ALIVE_SECONDS):
                            self._heard(notification.payload, heard)
                        with at_most(_ALIVE_SECONDS, connection):
                            await connection.execute("SELECT 1")
                        self._give_up_commits()
            except (psycopg.Error, OSError) as exc:
                log.warning("the database is away", action="database.away", error=str(exc).strip() or repr(exc))
                if isinstance(exc, psycopg.errors.ConnectionTimeout):  # it takes connections and says nothing
                    for made in before:  # those that were made meanwhile may work
                        cut(made)
            finally:
                self.hears = False
                lost()
                ready.set()
            self._connections.drop()  # the other connections are likely gone too
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _watch_locks(self, lost: Callable[[], None]) -> None:
        """Apart from the listening, which a connection that says nothing may not hold up."""
        while True:
            await asyncio.sleep(_ALIVE_SECONDS)
            if await self._locks.lost():
                lost()

    def _give_up_commits(self) -> None:
        """Cut the connections whose COMMIT is not answered. Whether it was done is seen by who tries the same again."""
        for made, info in list(self._made.items()):
            if time.monotonic() - info.get(COMMITTING, float("inf")) > _COMMIT_SECONDS:
                log.error("the database does not answer a commit", action="database.commit")
                cut(made)

    def _heard(self, payload: str, heard: Callable[[Set[tuple[str, str]], bool], None]) -> None:
        told = json.loads(payload)
        if told["from"] != self._name:
            heard({(topic, key) for topic, key in told["changes"]}, told["hot"])

    @asynccontextmanager
    async def alone(self, name: str) -> AsyncIterator[bool]:
        """Whether no other process, and nobody else in this one, has this name at the moment."""
        taken = await self._locks.take(name)
        try:
            yield taken
        finally:
            if taken:
                await asyncio.shield(self._locks.give_back(name))

    async def about(self) -> str:
        """Its version. Raises Invalid for an encoding without all characters, or if tables cannot be made."""
        query = (
            "SELECT current_setting('server_version'), current_setting('server_encoding'),"
            " has_schema_privilege(current_schema(), 'CREATE')"
        )
        async with self.read() as connection:
            version, encoding, may_create = tuple((await connection.exec_driver_sql(query)).one())
        if encoding != "UTF8":
            hint = "Make one with `createdb --encoding UTF8 --template template0 NAME`."
            raise Invalid(f"The PostgreSQL database has the encoding {encoding}.", hint=hint)
        if not may_create:
            hint = "Let the user of [database] url own the database: `ALTER DATABASE NAME OWNER TO USER`."
            raise Invalid("Lumper may not make tables in the PostgreSQL database.", hint=hint)
        return f"PostgreSQL {version}"

    @contextmanager
    def migrating(self) -> Iterator[Connection]:
        """A connection that makes the schema, one process after the other."""
        engine = create_engine(self._url, connect_args=self._arguments)
        try:
            with engine.connect() as connection:
                connection.exec_driver_sql("SET lock_timeout = '10min'")
                connection.exec_driver_sql(f"SELECT pg_advisory_lock({key_of('migrate')})")
                connection.commit()
                yield connection
        finally:
            engine.dispose()

    async def close(self) -> None:
        """Close all connections. Idempotent; without it the process does not end."""
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)
            self._listening = None
        await self._locks.close()
        await self._connections.close()

    async def _connect(self) -> psycopg.AsyncConnection[Any]:
        url = self._url.set(drivername="postgresql").render_as_string(hide_password=False)
        return await psycopg.AsyncConnection.connect(url, autocommit=True, **self._arguments)


def _interrupt(connection: psycopg.Connection[Any]) -> None:
    connection.cancel_safe(timeout=_CANCEL_SECONDS)


def _used(_: Any, record: ConnectionPoolEntry) -> None:
    record.info["used"] = time.monotonic()


def _look(connection: Any, record: ConnectionPoolEntry, _: Any) -> None:
    """Ask a connection that was left alone for a while whether it still is one. Raises DisconnectionError."""
    if time.monotonic() - record.info.get("used", float("inf")) < _TRUSTED_SECONDS:
        return
    try:
        connection.execute("SELECT 1")
    except psycopg.Error as exc:
        raise DisconnectionError from exc


def _packed(changes: Set[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    """The changes in as many at a time as fit into one notification; no change is news too."""
    some: list[tuple[str, str]] = []
    size = 0
    for topic, key in sorted(changes):
        length = len(json.dumps([topic, key])) + 2
        if some and size + length > _MOST_BYTES:
            yield some
            some, size = [], 0
        some.append((topic, key))
        size += length
    yield some
