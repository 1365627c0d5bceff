"""Connections for an event loop: nothing is left behind, whatever becomes of the task that has one."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import create_engine, event, text

from lumper.store.connection import Connections
from lumper.store.database import Database

_LONG = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n",
    "postgresql": "SELECT pg_sleep(600)",
}


async def begun(database: Database, write: bool, started: asyncio.Event) -> None:
    async with database.write() if write else database.read() as connection:
        await connection.execute(text("SELECT 1"))
        started.set()
        await connection.execute(text(_LONG[connection.dialect.name]))


@pytest.mark.parametrize("write", [False, True])
async def test_a_statement_without_end_ends_with_its_task(database: Database, write: bool) -> None:
    started = asyncio.Event()
    task = asyncio.create_task(begun(database, write, started))
    await started.wait()
    task.cancel()
    async with asyncio.timeout(60):
        with pytest.raises(asyncio.CancelledError):
            await task
    async with database.write() as connection:  # nobody has the lock any more
        await connection.execute(text("SELECT 1"))


async def test_a_block_that_fails_has_written_nothing(database: Database) -> None:
    with pytest.raises(ZeroDivisionError):
        async with database.write() as connection:
            await connection.execute(text("INSERT INTO repositories (name, created_at) VALUES ('a', 'x')"))
            raise ZeroDivisionError
    async with database.read() as connection:
        assert (await connection.scalar(text("SELECT count(*) FROM repositories"))) == 0


async def test_many_readers_wait_for_each_other_and_all_are_answered(database: Database) -> None:
    async def read() -> int:
        async with database.read() as connection:
            return int(await connection.scalar(text("SELECT 7")))

    assert await asyncio.gather(*(read() for _ in range(200))) == [7] * 200


async def test_writers_follow_one_another(database: Database) -> None:
    async def add() -> None:
        async with database.write() as connection:
            count = await connection.scalar(text("SELECT count(*) FROM repositories"))
            insert = f"INSERT INTO repositories (name, created_at) VALUES ('r{count}', 'x')"
            await connection.execute(text(insert))

    await asyncio.gather(*(add() for _ in range(20)))
    async with database.read() as connection:
        assert (await connection.scalar(text("SELECT count(*) FROM repositories"))) == 20


async def test_a_reader_sees_one_moment(database: Database) -> None:
    count = text("SELECT count(*) FROM repositories")
    async with database.read() as connection:
        assert (await connection.scalar(count)) == 0
        async with database.write() as writing:
            await writing.execute(text("INSERT INTO repositories (name, created_at) VALUES ('a', 'x')"))
        assert (await connection.scalar(count)) == 0
    async with database.read() as connection:
        assert (await connection.scalar(count)) == 1


async def test_a_block_that_is_left_after_the_end_raises_nothing(database: Database) -> None:
    async with database.read() as connection:
        await connection.execute(text("SELECT 1"))
        await database.close()


async def test_the_end_leaves_no_connection_open_whoever_is_at_work(tmp_path: Path) -> None:
    path = tmp_path / "lumper.db"
    for moment in range(20):
        database = Database(f"sqlite:///{path}")
        await database.migrate()
        tasks = [asyncio.create_task(database.rows(text("SELECT count(*) FROM tags"))) for _ in range(20)]
        for _ in range(moment):
            await asyncio.sleep(0)
        await database.close()
        await asyncio.gather(*tasks)
        assert [name for name in _open_files() if name.startswith(str(path))] == []


async def test_of_connections_that_are_dropped_none_is_used_again_or_left_open(tmp_path: Path) -> None:
    path = str(tmp_path / "lumper.db")
    engine = create_engine(f"sqlite:///{path}", connect_args={"check_same_thread": False})
    connections = Connections(engine, 2, lambda _: None)
    made: list[object] = []
    event.listen(engine, "connect", lambda connection, _: made.append(connection))
    async with connections.connect() as connection:
        await connection.execute(text("SELECT 1"))
        connections.drop()
        await connection.execute(text("SELECT 1"))  # who has it goes on
    for _ in range(2):
        assert await connections.rows(text("SELECT 7")) == [(7,)]
        assert len(made) == 2
        assert _open_files().count(path) == 1
    await connections.close()


def _open_files() -> list[str]:
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the folder's own
            found.append(str(descriptor.readlink()))
    return found
