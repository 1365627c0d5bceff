"""The keys of `lumper.toml` that tell which tags an image gets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import BeforeValidator, Field

from lumper.build.recipe_values import Affix, Latest, Patterns, Table, TemplateText, as_tuple
from lumper.build.tag_templates import Template


class TagTable(Table):
    """One of the `tags` as a table: a template, and for which refs it is."""

    template: TemplateText
    prefix: Affix | None = None
    suffix: Affix | None = None
    tags: Patterns | None = None
    branches: Patterns | None = None


class FlavorTable(Table):
    """`flavor`: what holds for all `tags`."""

    latest: Latest = "auto"
    prefix: Affix = ""
    suffix: Affix = ""
    on_latest: bool = False


def _template(value: object) -> object:
    return {"template": value} if isinstance(value, str) else value


Templates = Annotated[
    tuple[Annotated[TagTable, BeforeValidator(_template, json_schema_input_type=str | TagTable)], ...],
    Field(max_length=20),
    BeforeValidator(as_tuple),
]


def templates(tables: Sequence[TagTable]) -> tuple[Template, ...]:
    """Them as values."""
    return tuple(Template(table.template, table.prefix, table.suffix, table.tags, table.branches) for table in tables)
