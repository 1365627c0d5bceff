"""The tables and their revision: made in an empty database, brought forward in an older one, refused if another's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import Column, Connection, MetaData, PrimaryKeyConstraint, String, Table, inspect, text

from lumper.errors import Invalid

# The newest revision in migrations/. That of the first one ends with a fingerprint of the tables, since it is made from
# them until the first release: tests hold all three together.
HEAD = "0001_2421b40806cb"
TABLE = "alembic_version"  # as Alembic calls it
FOUND = f"SELECT version_num FROM {TABLE}"  # noqa: S608 - our own name
_HINT = (
    "Use the version that made it, or begin with an empty database, to which `lumper registry rebuild` brings back "
    "the images: docs/how-to/as-a-service.md, Update."
)


def revision(connection: Connection) -> str | None:
    """The revision of the tables that the database has, or None if it has none."""
    return connection.execute(text(FOUND)).scalar() if _is_made(connection) else None


def upgrade(connection: Connection) -> None:
    """Make all tables, or bring those of an older release to HEAD. Raises Invalid for those of another version."""
    made = _is_made(connection)
    connection.rollback()  # what looking began: within a transaction Alembic would leave the commit to us
    if made:
        _migrate(connection)
    else:
        _make(connection)


def check(found: str | None) -> None:
    """Raise Invalid if tables of this revision are not HEAD's, and cannot be brought there."""
    if found in (None, HEAD):
        return
    from alembic.script import ScriptDirectory  # slow to import and needed once a release

    if found not in [script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()]:
        raise Invalid(f"Another version of Lumper made this database: its tables are {found}, not {HEAD}.", hint=_HINT)


def _is_made(connection: Connection) -> bool:
    return inspect(connection).has_table(TABLE)


def _make(connection: Connection) -> None:
    """All tables of HEAD, in a database that has none: a test compares them with those that the migrations make."""
    from lumper.store.tables import made_for

    made_for(connection.dialect.name).create_all(connection)
    # As Alembic makes and reads it: https://alembic.sqlalchemy.org/en/latest/api/runtime.html
    made = MetaData()
    version = Table(TABLE, made, Column("version_num", String(32), nullable=False))
    version.append_constraint(PrimaryKeyConstraint("version_num", name=f"{TABLE}_pkc"))
    made.create_all(connection)
    connection.execute(version.insert().values(version_num=HEAD))
    connection.commit()


def _migrate(connection: Connection) -> None:
    check(revision(connection))
    connection.rollback()
    from alembic import command

    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, HEAD)


def _config() -> Any:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config
