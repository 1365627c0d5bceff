"""The keys of `lumper.toml` that tell which tags an image gets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, model_validator

from lumper.build.recipe.tag_checks import version_problem
from lumper.build.recipe.tag_templates import Template
from lumper.build.recipe.values import Affix, Latest, OnLatest, Patterns, Table, TemplateText, Text, as_tuple


class TagTable(Table):
    """One of the `tags` as a table: a template, and for which refs it is."""

    template: TemplateText
    prefix: Affix | None = None
    suffix: Affix | None = None
    tags: Patterns | None = None
    branches: Patterns | None = None
    enable: bool = True
    priority: Annotated[int, Field(ge=-1_000_000, le=1_000_000)] | None = None
    value: Text = Field("", max_length=200)
    match: Text = Field("", max_length=200)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if words := version_problem(self.template, self.value, self.match):
            raise ValueError(words)
        return self


class FlavorTable(Table):
    """`flavor`: what holds for all `tags`."""

    latest: Latest = "auto"
    prefix: Affix = ""
    suffix: Affix = ""
    on_latest: OnLatest = False


def _template(value: object) -> object:
    return {"template": value} if isinstance(value, str) else value


Templates = Annotated[
    tuple[Annotated[TagTable, BeforeValidator(_template, json_schema_input_type=str | TagTable)], ...],
    Field(max_length=20),
    BeforeValidator(as_tuple),
]


def templates(tables: Sequence[TagTable]) -> tuple[Template, ...]:
    """Those that are enabled, as values."""
    return tuple(
        Template(
            text=table.template,
            prefix=table.prefix,
            suffix=table.suffix,
            tags=table.tags,
            branches=table.branches,
            priority=table.priority,
            value=table.value,
            match=table.match,
        )
        for table in tables
        if table.enable
    )
