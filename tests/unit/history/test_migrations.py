"""The schema: its version, and that the migrations make what the tables say."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable

import lumper.history
from lumper.history.database import HEAD, Database
from lumper.history.tables import metadata


def test_head_is_the_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(lumper.history.__file__).parent / "migrations"))
    assert ScriptDirectory.from_config(config).get_current_head() == HEAD


async def test_the_migrations_make_the_tables(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'x.db'}")
    await database.migrate()
    await database.migrate()
    await database.close()
    with sqlite3.connect(tmp_path / "x.db") as connection:
        for table in metadata.sorted_tables:
            columns = {row[1] for row in connection.execute(f"PRAGMA table_info({table.name})")}
            assert columns == {column.name for column in table.columns}, table.name
    connection.close()


def test_names_sort_by_their_bytes_and_sizes_have_64_bits_in_postgresql() -> None:
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]

    def made(table: str) -> str:
        return str(CreateTable(metadata.tables[table]).compile(dialect=dialect))

    assert 'name TEXT COLLATE "C"' in made("tags")
    assert "size BIGINT" in made("repository_blobs")
