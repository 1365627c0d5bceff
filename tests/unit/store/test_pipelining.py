"""What is told to PostgreSQL together goes wrong as it would one after the other, and SQLite does the same."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from sqlalchemy import Connection, delete, insert, select, text

from lumper.errors import Invalid, StorageError
from lumper.store.connection import AsyncConnection
from lumper.store.database import Database, at_last, changed, together
from lumper.store.tables import blobs

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ROW = {"digest": "sha256:a", "size": 1, "stored_at": NOW}
OTHER = {**ROW, "digest": "sha256:b"}


async def stored(database: Database) -> list[str]:
    return [row.digest for row in await database.rows(select(blobs.c.digest).order_by(blobs.c.digest))]


async def test_statements_together_are_one_transaction(database: Database) -> None:
    def work(connection: Connection) -> None:
        with together(connection):
            connection.execute(insert(blobs), ROW)
            connection.execute(insert(blobs), [OTHER])

    await database.write_hot(work)
    assert await stored(database) == ["sha256:a", "sha256:b"]


async def test_what_is_last_goes_along_with_the_commit(database: Database) -> None:
    heard: list[str | None] = []
    database.on_change("images", heard.append)

    def other(connection: Connection) -> None:
        connection.execute(insert(blobs), OTHER)

    async def work(connection: AsyncConnection) -> int:
        await connection.execute(insert(blobs), ROW)
        changed(connection, "images", "a")
        at_last(connection, other)
        return 7

    assert await database.write_at_once(work) == 7
    assert (await stored(database), heard) == (["sha256:a", "sha256:b"], ["a"])
    for _ in range(3):
        with pytest.raises(StorageError):
            await database.write_at_once(work)  # the first statement fails
    async with database.write() as connection:
        await connection.execute(delete(blobs).where(blobs.c.digest == ROW["digest"]))
    for _ in range(3):
        with pytest.raises(StorageError):
            await database.write_at_once(work)  # the last one fails
        assert await stored(database) == ["sha256:b"]


@pytest.mark.parametrize("first", [ROW, OTHER])
async def test_one_that_fails_takes_the_others_with_it(database: Database, first: dict[str, object]) -> None:
    async with database.write() as connection:
        await connection.execute(insert(blobs), ROW)

    def work(connection: Connection) -> None:
        with together(connection):
            connection.execute(insert(blobs), first)
            connection.execute(insert(blobs), [ROW])

    for _ in range(3):  # more often than once: a connection is used again afterwards
        with pytest.raises(StorageError):
            await database.write_hot(work)
        assert await stored(database) == ["sha256:a"]


async def test_a_first_statement_that_fails_leaves_a_connection_that_works(database: Database) -> None:
    for _ in range(3):
        with pytest.raises((StorageError, Invalid)):
            async with database.write() as connection:
                await connection.execute(insert(blobs), {**ROW, "digest": None})
        with pytest.raises(StorageError):
            async with database.read() as connection:
                await connection.exec_driver_sql("SELECT nothing FROM nowhere")
        with pytest.raises(StorageError):
            await database.rows(text("SELECT 1 FROM nowhere"))
        assert await stored(database) == []
    async with database.write() as connection:
        await connection.execute(insert(blobs), ROW)
    assert await stored(database) == ["sha256:a"]


async def test_a_transaction_without_a_statement_leaves_nothing_behind(database: Database) -> None:
    await database.write_hot(lambda _: None)
    await database.write_hot(lambda _: None, changes={("images", "a")})
    async with database.write():
        pass
    assert await stored(database) == []
    async with database.write() as connection, asyncio.timeout(60):
        assert await database.rows(select(blobs.c.digest)) == []  # on a connection that no transaction has begun on
        await connection.execute(insert(blobs), ROW)
    assert await stored(database) == ["sha256:a"]


async def test_what_is_read_in_a_block_is_one_snapshot(database: Database) -> None:
    async with database.read() as connection:
        assert (await connection.execute(select(blobs.c.digest))).all() == []
        async with database.write() as other:
            await other.execute(insert(blobs), ROW)
        assert (await connection.execute(select(blobs.c.digest))).all() == []
    assert await stored(database) == ["sha256:a"]
