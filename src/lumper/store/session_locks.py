"""Locks of PostgreSQL that go with their session: who has a name for itself, among all processes.

Source: PostgreSQL, "Explicit Locking" (13.3.5, Advisory Locks).
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Callable
from typing import Any, LiteralString

import psycopg

from lumper.errors import DatabaseFailed
from lumper.store.dead_connections import answering


class SessionLocks:
    """Named locks of this process among all: they live as long as one connection, which is made at first use."""

    def __init__(self, connect: Callable[[], Any]) -> None:
        self._connect = connect
        self._connection: psycopg.AsyncConnection[Any] | None = None
        self._held: set[str] = set()
        self._lost = False
        self._turn = asyncio.Lock()

    async def take(self, name: str) -> bool:
        """Whether it could be had at once. Raises DatabaseFailed."""
        if name in self._held:
            return False
        self._held.add(name)
        taken = False
        try:
            taken = await self._take(name)
        except (psycopg.Error, OSError) as exc:
            raise DatabaseFailed(f"The database does not answer: {str(exc).strip()}.") from exc
        except asyncio.CancelledError:  # the answer may have been on its way
            await asyncio.shield(self.give_back(name))
            raise
        finally:
            if not taken:
                self._held.discard(name)
        return taken

    async def _take(self, name: str) -> bool:
        async with self._turn:
            known = self._connection is not None
            try:
                return await self._ask("SELECT pg_try_advisory_lock(%s)", key_of(name))
            except psycopg.OperationalError:
                if not known:
                    raise
            return await self._ask("SELECT pg_try_advisory_lock(%s)", key_of(name))

    async def give_back(self, name: str) -> None:
        """Let others have it. If the connection is lost, so is the lock."""
        await self._ask_if_there("SELECT pg_advisory_unlock(%s)", key_of(name))
        self._held.discard(name)

    async def lost(self) -> bool:
        """Whether the connection was lost, and all locks with it, since this was asked last."""
        if self._held:
            await self._ask_if_there("SELECT true")
        lost, self._lost = self._lost, False
        return lost

    async def _ask_if_there(self, query: LiteralString, *parameters: int) -> None:
        with contextlib.suppress(psycopg.Error, OSError):
            async with self._turn:
                if self._connection is not None:
                    await self._ask(query, *parameters)

    async def _ask(self, query: LiteralString, *parameters: int) -> bool:
        """The answer to a query. Raises psycopg.OperationalError once the connection is lost; the next one is new."""
        if self._connection is None:
            self._connection = await self._connect()
        try:
            with answering(self._connection):
                found = await self._connection.execute(query, parameters)
                row = await found.fetchone()
        except psycopg.OperationalError:
            await self._connection.close()
            self._connection, self._lost = None, True
            raise
        return bool(row and row[0])

    async def close(self) -> None:
        """Give back all."""
        if self._connection is not None:
            await self._connection.close()
            self._connection = None


def key_of(name: str) -> int:
    """The number by which PostgreSQL knows a lock."""
    return int.from_bytes(hashlib.blake2b(f"lumper {name}".encode(), digest_size=8).digest(), signed=True)
