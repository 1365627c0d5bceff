"""`write_hot` and `write_at_once` promise what `write` does, though they are other ways into the file."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Connection, func, insert, select, text

from lumper.errors import Conflict, DatabaseBroken, StorageError
from lumper.line.figures import Figures
from lumper.store.connection import AsyncConnection
from lumper.store.database import Commits, Database, changed
from lumper.store.tables import repositories


def _add(connection: Connection, name: str) -> None:
    connection.execute(insert(repositories).values(name=name, created_at=datetime.now(UTC)))


async def _count(database: Database) -> int:
    async with database.read() as connection:
        return int((await connection.execute(select(func.count()).select_from(repositories))).scalar_one())


async def test_what_was_written_in_one_go_is_seen_at_once(database: Database) -> None:
    await database.write_hot(lambda connection: _add(connection, "a"))
    assert await _count(database) == 1


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@pytest.mark.parametrize("lost", ["DROP TABLE repositories CASCADE", "ALTER TABLE repositories DROP COLUMN created_at"])
async def test_a_database_with_other_tables_is_told_as_one_of_another_version(
    kind: str, lost: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = f"sqlite:///{tmp_path}/other.db" if kind == "sqlite" else request.getfixturevalue("postgres").fresh()
    database = Database(url)
    try:
        await database.migrate()
        async with database.write() as connection:
            await connection.exec_driver_sql(lost if kind == "postgresql" else lost.removesuffix(" CASCADE"))
        with pytest.raises(StorageError) as refused:
            await database.rows(select(repositories))
        with pytest.raises(StorageError):
            await Figures(database).answers()
    finally:
        await database.close()
    assert "Another version of Lumper" in refused.value.hint


async def test_a_database_with_a_malformed_table_that_pulls_need_does_not_answer(tmp_path: Path) -> None:
    path = tmp_path / "lumper.db"
    database = Database(f"sqlite:///{path}")
    await database.migrate()
    page = (await database.rows(text("SELECT rootpage FROM sqlite_master WHERE name = 'tags'")))[0][0]
    await database.close()
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"x" * 4096)
    try:
        await database.rows(select(1))
        with pytest.raises(DatabaseBroken):
            await Figures(database).answers()
    finally:
        await database.close()


async def test_a_failure_takes_back_all_of_it(database: Database) -> None:
    def twice(connection: Connection) -> None:
        _add(connection, "a")
        _add(connection, "a")

    with pytest.raises(StorageError):
        await database.write_hot(twice)
    assert await _count(database) == 0


async def test_a_transaction_in_one_visit_to_a_thread_is_one_of_many_statements(database: Database) -> None:
    heard: list[str | None] = []
    committed: list[int] = []
    database.on_change("repositories", heard.append)
    database.on_commit(lambda: committed.append(1))
    threads = set[int]()

    async def add(connection: AsyncConnection) -> int:
        for name in ("a", "b"):
            await connection.run_sync(_add, name)
            await connection.run_sync(lambda _: threads.add(threading.get_ident()))
        changed(connection, "repositories", "a")
        return int(await connection.scalar(select(func.count()).select_from(repositories)))

    assert await database.write_at_once(add) == 2
    assert await _count(database) == 2
    assert (heard, committed) == (["a"], [1])
    assert len(threads) == 1
    assert threads != {threading.get_ident()}


async def test_a_failure_in_one_visit_takes_back_all_of_it(database: Database) -> None:
    async def fail(connection: AsyncConnection) -> None:
        await connection.run_sync(_add, "a")
        raise Conflict("no")

    async def wait(connection: AsyncConnection) -> None:
        await connection.run_sync(_add, "a")
        await asyncio.sleep(0)

    with pytest.raises(Conflict):
        await database.write_at_once(fail)
    with pytest.raises(RuntimeError, match="may wait for nothing else"):
        await database.write_at_once(wait)
    assert await _count(database) == 0


async def test_one_visit_without_a_statement_is_nothing(database: Database) -> None:
    async def nothing(_connection: AsyncConnection) -> str:
        return "done"

    assert await database.write_at_once(nothing) == "done"


async def test_both_ways_of_writing_wait_for_each_other(database: Database) -> None:
    async def slowly(number: int) -> None:
        async with database.write() as connection:
            await connection.run_sync(_add, f"slow{number}")

    hot = [database.write_hot(lambda connection, n=n: _add(connection, f"hot{n}")) for n in range(20)]  # type: ignore[misc]
    await asyncio.gather(*hot, *(slowly(number) for number in range(20)))
    assert await _count(database) == 40


async def test_it_is_closed_more_than_once_without_harm(database: Database) -> None:
    await database.write_hot(lambda connection: _add(connection, "a"))
    await database.close()
    await database.close()


async def test_commits_of_this_process_and_of_others_are_waited_for(database_url: str) -> None:
    ours, others = Database(database_url), Database(database_url)
    await ours.migrate()
    await ours.listen()
    commits = Commits(ours)
    for database in (ours, others) if ours.shared else (ours,):
        async with database.write() as connection:
            await connection.run_sync(_add, "one" if database is ours else "other")
        async with asyncio.timeout(60):
            await commits.wait(100)
    began = asyncio.get_running_loop().time()
    await commits.wait(0.05)
    assert asyncio.get_running_loop().time() - began >= 0.05
    await ours.close()
    await others.close()
