"""Connections to a database for an event loop: a statement and the fetching of its rows are one visit to a thread.

SQLAlchemy's own way for event loops changes threads several times for a statement, and brings its whole ORM along.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, Concatenate, ParamSpec, TypeVar, TypeVarTuple, cast, overload

from sqlalchemy import Connection, CursorResult, Dialect, Engine, Executable, Row, event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.sql.selectable import TypedReturnsRows

_PATIENCE_SECONDS = 30.0  # for a connection to become free
_AGAIN_SECONDS = 0.2  # a statement that had not begun was not interrupted
_DROPS = "lumper_drops"

_P = ParamSpec("_P")
_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")
_Rows = CursorResult[*tuple[Any, ...]]


class AsyncConnection:
    """A connection while a block has it: it begins with its first statement, in a transaction. One task at a time."""

    def __init__(self, engine: Engine, threads: Connections) -> None:
        self.info: dict[str, Any] = {}
        self._engine = engine
        self._threads = threads
        self._opened: Connection | None = None

    @property
    def dialect(self) -> Dialect:
        """Which SQL it speaks."""
        return self._engine.dialect

    @overload
    async def execute(self, statement: TypedReturnsRows[*_Ts], parameters: Any = None) -> CursorResult[*_Ts]: ...
    @overload
    async def execute(self, statement: Executable, parameters: Any = None) -> _Rows: ...
    async def execute(self, statement: Executable, parameters: Any = None) -> Any:
        """What the statement returns, all of it read. Raises what SQLAlchemy raises."""
        return await self.run_sync(lambda connection: _whole(connection.execute(statement, parameters)))

    async def exec_driver_sql(self, statement: str, parameters: Any = None) -> _Rows:
        """Like `execute`, in the driver's own words."""
        return await self.run_sync(lambda connection: _whole(connection.exec_driver_sql(statement, parameters)))

    async def scalar(self, statement: Executable) -> Any:
        """The first value of the first row, None without one."""
        return await self.run_sync(lambda connection: connection.execute(statement).scalar())

    async def run_sync(
        self, work: Callable[Concatenate[Connection, _P], _T], *args: _P.args, **kwargs: _P.kwargs
    ) -> _T:
        """Do several statements in one visit to a thread."""
        return await self._threads.settled(lambda: work(self._open(), *args, **kwargs), self.interrupt)

    def _open(self) -> Connection:
        if self._opened is None:
            self._opened = self._engine.connect()
        return self._opened

    def interrupt(self) -> None:
        """End the statement that is being executed."""
        if self._opened is not None:
            self._threads.interrupt(self._opened.connection.driver_connection)

    async def end(self, *, commit: bool) -> None:
        """Give the connection back; without `commit` nothing was written."""
        if self._opened is None:
            return
        if self._threads.quick_end and not commit:
            self._end(self._opened, commit=False)
        else:
            await self._threads.settled(partial(self._end, self._opened, commit=commit))

    def _end(self, connection: Connection, *, commit: bool) -> None:
        with connection:
            if commit:
                connection.commit()


class _InThread(AsyncConnection):
    """One whose methods wait for nothing, for a coroutine that is carried out in a thread."""

    async def run_sync(
        self, work: Callable[Concatenate[Connection, _P], _T], *args: _P.args, **kwargs: _P.kwargs
    ) -> _T:
        return work(self._open(), *args, **kwargs)

    def carry_out(self, work: Callable[[AsyncConnection], Coroutine[Any, Any, _T]]) -> _T:
        """Do it, and commit if it ends well."""
        done = False
        try:
            result = _carried_out(work(self))
            done = True
        finally:
            if self._opened is not None:
                self._end(self._opened, commit=done)
        return result


class Connections:
    """At most `most` connections of an engine at a time; a thread of its own for each that is at work.

    So nobody who waits in a thread for a lock can be in the way of who holds it.
    """

    def __init__(self, engine: Engine, most: int, interrupt: Callable[[Any], None], *, quick_end: bool = False) -> None:
        """`engine` has room for `most` connections in its pool; `interrupt` ends what one of the driver is doing.

        `quick_end`: to give one back without a commit waits for nothing, so that it takes no visit to a thread.
        """
        self._engine = engine
        self.quick_end = quick_end
        self.interrupt = interrupt
        self._threads = ThreadPoolExecutor(most, "database")
        self._free = asyncio.Semaphore(most)
        self.closed = False
        self._drops = 0
        event.listen(engine, "connect", self._made)
        event.listen(engine, "checkout", self._taken)
        event.listen(engine, "checkin", self._given_back)

    def _made(self, _connection: Any, record: ConnectionPoolEntry) -> None:
        record.info[_DROPS] = self._drops

    def _taken(self, _connection: Any, record: ConnectionPoolEntry, _: Any) -> None:
        if record.info[_DROPS] != self._drops:
            raise DisconnectionError  # the pool closes it and makes another one

    def _given_back(self, _connection: Any, record: ConnectionPoolEntry) -> None:
        if self.closed:  # nobody asks the pool for it any more
            record.invalidate()

    @asynccontextmanager
    async def connect(self, engine: Engine | None = None, *, commit: bool = False) -> AsyncIterator[AsyncConnection]:
        """One of them, perhaps with other options; with `commit` what a block that ends well has written stays."""
        async with self._place():
            connection = AsyncConnection(engine or self._engine, self)
            try:
                yield connection
            except BaseException:
                await connection.end(commit=False)
                raise
            await connection.end(commit=commit)

    async def transaction(self, work: Callable[[Connection], _T], engine: Engine | None = None) -> _T:
        """A whole transaction in one visit to a thread."""
        async with self._place():
            return await self.settled(partial(_transaction, engine or self._engine, work))

    async def at_once(
        self, work: Callable[[AsyncConnection], Coroutine[Any, Any, _T]], engine: Engine | None = None
    ) -> _T:
        """A whole transaction in one visit to a thread; `work` may await nothing but its connection."""
        async with self._place():
            connection = _InThread(engine or self._engine, self)
            return await self.settled(partial(connection.carry_out, work), connection.interrupt)

    async def rows(self, query: Executable) -> Sequence[Row[Any]]:
        """What a single query finds, in one visit to a thread."""
        async with self._place():
            return await self.settled(partial(_rows, self._engine, query))

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await self._free.acquire()
        except TimeoutError as exc:
            raise PoolTimeout from exc
        try:
            yield
        finally:
            self._free.release()

    async def settled(self, work: Callable[[], _T], interrupt: Callable[[], None] = lambda: None) -> _T:
        """Do it in a thread. When cancelled, that ends first: a connection is nobody else's meanwhile."""
        if self.closed:  # a block that is left late gives its connection back all the same
            return work()
        doing = asyncio.get_running_loop().run_in_executor(self._threads, work)
        try:
            return await asyncio.shield(doing)
        except asyncio.CancelledError:
            while not doing.done():
                with suppress(asyncio.CancelledError, Exception):
                    await asyncio.to_thread(interrupt)
                    await asyncio.wait([doing], timeout=_AGAIN_SECONDS)
            doing.exception()
            raise

    def drop(self) -> None:
        """Use no connection that there is again: each is closed when it would be its turn."""
        self._drops += 1

    async def close(self) -> None:
        """End connections and threads, once what was begun is done. Idempotent."""
        if not self.closed:
            self.closed = True  # what is at work now, or begins late, closes its connection itself
            await asyncio.to_thread(self._engine.dispose)
            self._threads.shutdown(wait=False)


def _whole(result: _Rows) -> _Rows:
    """The result with its rows, which were on the connection: rows are asked of it in another thread."""
    return cast("_Rows", result.freeze()()) if result.returns_rows else result


def _carried_out(coroutine: Coroutine[Any, Any, _T]) -> _T:
    """The result of a coroutine that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: _T = end.value
        return result
    coroutine.close()
    raise RuntimeError("a transaction that is carried out at once may wait for nothing else")


def _rows(engine: Engine, query: Executable) -> Sequence[Row[Any]]:
    with engine.connect() as connection:
        return connection.execute(query).all()


def _transaction(engine: Engine, work: Callable[[Connection], _T]) -> _T:
    with engine.begin() as connection:
        return work(connection)
