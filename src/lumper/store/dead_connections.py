"""Connections to PostgreSQL that do not answer: they are cut, and whoever waits for them hears of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import psycopg

_ANSWER_SECONDS = 10.0  # for what takes no time at all


@contextmanager
def at_most(seconds: float, connection: psycopg.AsyncConnection[Any]) -> Iterator[None]:
    """Cut the connection if the block takes longer: whoever waits for its answer gets an OperationalError.

    To cancel the waiting is no way: psycopg then asks the server to end the statement, and waits for that.
    """
    timer = asyncio.get_running_loop().call_later(seconds, cut, connection)
    try:
        yield
    finally:
        timer.cancel()


def cut(connection: psycopg.AsyncConnection[Any] | psycopg.Connection[Any]) -> None:
    """Let no byte come any more, in whatever thread it is waited for."""
    with (
        contextlib.suppress(psycopg.Error, OSError),  # it is closed already
        socket.socket(fileno=os.dup(connection.fileno())) as one,
    ):
        one.shutdown(socket.SHUT_RDWR)


def answering(connection: psycopg.AsyncConnection[Any]) -> AbstractContextManager[None]:
    """The same for a question whose answer takes the database no time at all."""
    return at_most(_ANSWER_SECONDS, connection)
