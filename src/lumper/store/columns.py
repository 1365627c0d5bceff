"""Kinds of columns that are the same in every database.

Times are UTC, stored as text in ISO 8601 with microseconds, so that they sort.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import String, Text, TypeDecorator
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles


class Time(TypeDecorator[datetime]):
    """An aware datetime, kept as text."""

    impl = String(32)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> str | None:
        """To the text in the table."""
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ") if value else None

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """From the text in the table."""
        return datetime.fromisoformat(value) if value else None


@compiles(String, "postgresql")
def _without_length(kind: String, compiler: Any, **options: Any) -> str:
    """No text is too long for PostgreSQL either: what may come is checked where it comes in."""
    return str(compiler.visit_TEXT(Text(collation=kind.collation), **options))


def in_order_of_bytes(length: int) -> String:
    """A text that sorts by its bytes in every database, as listings of the registry must: distribution-spec 1.1."""
    return String(length).with_variant(String(length, collation="C"), "postgresql")
