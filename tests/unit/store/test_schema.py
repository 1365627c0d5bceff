"""A database that another version of Lumper has made is refused, and by which sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text

from lumper.config.layout import DataFolder
from lumper.errors import Invalid, StorageError
from lumper.store import schema
from lumper.store.database import Database
from lumper.store.sqlite import look


async def test_tables_of_another_version_are_refused_and_left_alone(database_url: str) -> None:
    await _made(database_url)
    database = Database(database_url)
    try:
        for other in ("0001", "0001_fedcba987654", "9999"):
            await _set(database_url, other)
            for looked_at in (database.migrate, database.about):
                with pytest.raises(Invalid, match=f"its tables are {other}, not {schema.HEAD}") as refused:
                    await looked_at()
                assert "lumper registry rebuild" in refused.value.hint
            async with database.read() as connection:
                assert await connection.run_sync(schema.revision) == other
    finally:
        await database.close()
        await _set(database_url, schema.HEAD)  # PostgreSQL's is the next test's, too


async def test_a_database_is_told_of_before_its_tables_are_made(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/lumper.db")
    try:
        assert await database.about() == "SQLite"
        await database.migrate()
        assert await database.about() == "SQLite"
    finally:
        await database.close()


async def test_whoever_looks_at_a_file_leaves_nothing_beside_it(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "a folder?of #1%20")
    assert look(folder.database) == "SQLite, not made yet"
    folder.prepare()
    await _made(folder.database_url)
    there = sorted(folder.root.iterdir())
    assert folder.database in there
    assert look(folder.database) == "SQLite"
    assert sorted(folder.root.iterdir()) == there


async def test_a_file_is_looked_at_while_a_server_uses_it(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/lumper.db")
    await database.migrate()
    try:
        async with database.write() as connection:
            await connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
        with pytest.raises(Invalid, match="its tables are 0001, not"):  # what lies in the log only is read, too
            look(tmp_path / "lumper.db")
    finally:
        await database.close()


async def test_a_file_that_is_broken_is_told_as_such_with_what_to_do(tmp_path: Path) -> None:
    url, file = f"sqlite:///{tmp_path}/lumper.db", tmp_path / "lumper.db"
    await _made(url)
    with file.open("r+b") as cut:
        cut.truncate(file.stat().st_size // 2)
    with pytest.raises(StorageError, match="malformed") as caught:
        await _made(url)
    assert "registry rebuild" in str(caught.value.hint)

    file.write_bytes(b"PNG" * 1000)
    with pytest.raises(StorageError, match="cannot be read: file is not a database"):
        look(file)
    with pytest.raises(StorageError, match="file is not a database") as caught:
        await _made(url)
    assert "registry rebuild" in str(caught.value.hint)


async def _made(url: str) -> None:
    database = Database(url)
    try:
        await database.migrate()
    finally:
        await database.close()


async def _set(url: str, revision: str) -> None:
    database = Database(url)
    async with database.write() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = :to"), {"to": revision})
    await database.close()
