"""Commands that go to PostgreSQL together, so that its answers are waited for once: each wait is a way there and back.

Source: psycopg, "Pipeline mode support".
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any
from weakref import WeakKeyDictionary

import psycopg
from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import DBAPIError

COMMITTING = "committing since"
"""In the `info` of a connection: since when, by the monotonic clock, the answer to a COMMIT is waited for."""

_Driver = psycopg.Connection[Any]


class Beginnings:
    """Transactions of an engine, whose first commands go along with their first statement."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._due: WeakKeyDictionary[_Driver, Sequence[str]] = WeakKeyDictionary()
        event.listen(engine, "do_execute", self._execute)
        event.listen(engine, "do_executemany", self._execute_many)

    def with_words(self, *words: str) -> Engine:
        """The engine, with transactions that begin with these commands."""
        mine = self._engine.execution_options()
        event.listen(mine, "begin", lambda connection: self._due.update({_driver(connection): words}))
        for end in ("commit", "rollback"):  # perhaps of a transaction that had no statement
            event.listen(mine, end, self._forget)
        return mine

    def _forget(self, connection: Connection) -> None:
        if not connection.invalidated and not connection.closed:
            self._due.pop(_driver(connection), None)

    def _execute(self, cursor: psycopg.Cursor[Any], statement: str, parameters: Any, _: object) -> bool:
        return self._first(cursor.connection, cursor.execute, statement, parameters)

    def _execute_many(self, cursor: psycopg.Cursor[Any], statement: str, parameters: Any, _: object) -> bool:
        return self._first(cursor.connection, cursor.executemany, statement, parameters)

    def _first(self, driver: _Driver, execute: Callable[[Any, Any], object], statement: str, parameters: Any) -> bool:
        """Execute the first statement of a transaction; of another one, tell that it still is to be executed."""
        words = self._due.pop(driver, None)
        if words is None:
            return False
        with nullcontext() if driver.info.pipeline_status else driver.pipeline():
            for each in words:
                driver.execute(each.encode())
            execute(statement, parameters)
        return True


@contextmanager
def commit_with(connection: Connection, statement: str, rows: Sequence[Sequence[str]] = ()) -> Iterator[None]:
    """Statements of the block, which return nothing, then this one once with each of these rows, and COMMIT.

    Nothing may follow in this transaction. Raises what SQLAlchemy raises.
    """
    try:
        with together(connection):
            yield
            driver = _driver(connection)
            for row in rows:
                driver.execute(statement.encode(), row)
            driver.execute("COMMIT")
            connection.info[COMMITTING] = time.monotonic()
    finally:
        if not connection.invalidated:
            connection.info.pop(COMMITTING, None)


@contextmanager
def together(connection: Connection) -> Iterator[None]:
    """Statements that return nothing, whose answers are waited for at the end. Raises what SQLAlchemy raises."""
    driver = _driver(connection)
    try:
        with driver.pipeline():
            yield
    except psycopg.Error as exc:
        away = connection.dialect.is_disconnect(exc, connection.connection, None)  # type: ignore[arg-type]
        raise DBAPIError.instance(
            None, None, exc, psycopg.Error, dialect=connection.dialect, connection_invalidated=away
        ) from exc


def _driver(connection: Connection) -> _Driver:
    driver: _Driver = connection.connection.driver_connection  # type: ignore[assignment]
    return driver
