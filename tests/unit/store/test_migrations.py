"""The schema: its version, and that the migrations make what the tables say."""

from __future__ import annotations

import hashlib
import sqlite3
from pathlib import Path
from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

import lumper.store
from lumper.store.database import Database
from lumper.store.schema import HEAD
from lumper.store.tables import made_for, metadata


def test_head_is_the_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(lumper.store.__file__).parent / "migrations"))
    assert ScriptDirectory.from_config(config).get_current_head() == HEAD


def test_the_first_revision_names_the_tables_that_it_makes() -> None:
    """Two checkouts with other tables must not take each other's databases for their own."""
    said = "\n".join(_statements("sqlite") + _statements("postgresql"))
    first = f"0001_{hashlib.sha256(said.encode()).hexdigest()[:12]}"
    assert first == HEAD, f'the tables are others than before: write HEAD = "{first}" in store/schema.py'


def _statements(dialect_name: str) -> list[str]:
    """All that is said to make the tables in one kind of database, whatever spaces are between its words."""
    dialect = URL.create(dialect_name).get_dialect()()
    made: list[str] = []
    for table in made_for(dialect_name).sorted_tables:
        made.append(str(CreateTable(table).compile(dialect=dialect)))
        made += sorted(str(CreateIndex(index).compile(dialect=dialect)) for index in table.indexes)
    return [" ".join(statement.split()) for statement in made]


async def test_a_new_database_has_the_tables_and_is_known_to_alembic(database_url: str) -> None:
    database = Database(database_url)
    await database.migrate()
    await database.migrate()
    try:
        async with database.read() as connection:
            assert (
                await connection.run_sync(lambda bare: MigrationContext.configure(bare).get_current_revision()) == HEAD
            )
            assert await connection.run_sync(lambda bare: compare_metadata(_context(bare), metadata)) == []
    finally:
        await database.close()


def _context(connection: Connection) -> MigrationContext:
    return MigrationContext.configure(connection, opts={"compare_type": True})


async def test_migrations_make_what_a_new_database_has(tmp_path: Path) -> None:
    made, migrated = tmp_path / "made.db", tmp_path / "migrated.db"
    with sqlite3.connect(migrated) as connection:
        connection.execute(
            "CREATE TABLE alembic_version"
            " (version_num VARCHAR(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
        )
    connection.close()
    for path in (made, migrated):
        database = Database(f"sqlite:///{path}")
        await database.migrate()
        await database.close()
    assert _schema(made) == _schema(migrated)


def _schema(path: Path) -> set[tuple[Any, ...]]:
    """All tables and indexes, in SQL, and the revision."""
    with sqlite3.connect(path) as connection:
        made: set[tuple[Any, ...]] = {
            (name, " ".join(str(sql).split()).replace("( ", "(").replace(" )", ")"))
            for name, sql in connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
        }
        made |= set(connection.execute("SELECT 'revision', version_num FROM alembic_version"))
    connection.close()
    return made


def test_names_sort_by_their_bytes_and_sizes_have_64_bits_in_postgresql() -> None:
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]

    def made(table: str) -> str:
        return str(CreateTable(metadata.tables[table]).compile(dialect=dialect))

    assert 'name TEXT COLLATE "C"' in made("tags")
    assert "size BIGINT" in made("repository_blobs")
