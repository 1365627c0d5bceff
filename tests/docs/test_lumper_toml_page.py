from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import jsonschema
import pytest
from pydantic import BaseModel

from lumper.build.recipe.file import BuildTable, DeployTable, HealthTable, SourceTable
from lumper.build.recipe.recipe import parse_recipes
from lumper.build.recipe.schema import recipe_schema

REFERENCE = Path(__file__).parents[2] / "docs/reference"
PAGE = (REFERENCE / "lumper-toml.md").read_text("utf-8")


def section(title: str) -> str:
    """The text under a heading."""
    return PAGE.split(f"## `{title}`\n", 1)[1].split("\n## ", 1)[0]


@pytest.mark.parametrize(
    ("title", "table"),
    [
        ("[source]", SourceTable),
        ("[build]", BuildTable),
        ("[deploy]", DeployTable),
        ("[deploy.health]", HealthTable),
    ],
)
def test_the_page_explains_every_key_and_no_other(title: str, table: type[BaseModel]) -> None:
    keys = set(table.model_fields) - ({"health"} if table is DeployTable else set())
    assert set(re.findall(r"(?m)^\| `(\w+)` \|", section(title))) == keys


def test_the_example_is_accepted_and_uses_every_key() -> None:
    example = PAGE.split("```toml\n")[1].split("```")[0]
    parse_recipes(example.encode(), "owner/app")
    for table in (SourceTable, BuildTable, DeployTable, HealthTable):
        for key in table.model_fields.keys() - {"image"}:  # that goes with [image.NAME], as the other example shows
            assert re.search(rf"(?m)^{key} = |^\[deploy\.{key}\]", example)


def test_the_defaults_on_the_page_are_those_of_the_code() -> None:
    for title, table in (("[build]", BuildTable), ("[deploy]", DeployTable), ("[deploy.health]", HealthTable)):
        for key, default in re.findall(r"(?m)^\| `(\w+)` \| `([^`]*)` \|", section(title)):
            known = table.model_fields[key].default
            words = str(known).lower() if isinstance(known, bool) else str(known).removesuffix(".0")
            assert words == default.strip('"')


def test_the_published_schema_is_that_of_the_code() -> None:
    published = (REFERENCE / "lumper-toml.schema.json").read_text("utf-8")
    assert json.loads(published) == recipe_schema(), "lumper recipe schema > docs/reference/lumper-toml.schema.json"


def test_the_schema_takes_what_the_page_shows_and_nothing_unknown() -> None:
    validator = jsonschema.Draft202012Validator(recipe_schema())
    validator.check_schema(validator.schema)
    for block in re.findall(r"(?s)```toml\n(.*?)```", PAGE):
        validator.validate(tomllib.loads(block))
    ports = {"deploy": {"ports": [80, "8080:80"], "volumes": ["data:/data"]}}
    validator.validate(ports)
    unknown: list[dict[str, object]] = [
        {"biuld": {}},
        {"build": {"context": 1}},
        {"build": {"tags": [1]}},
        {"deploy": {"ports": [[]]}},
    ]
    for wrong in unknown:
        assert list(validator.iter_errors(wrong))
