"""The recipe: `lumper.toml` at the root of the repository, read, checked, and turned into plain values.

Every problem is reported at once, with its line. The reference for people is docs/reference/lumper-toml.md.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from pydantic import BaseModel, ValidationError

from lumper.build.recipe.asked import Asked
from lumper.build.recipe.file import (
    BuildTable,
    DeployTable,
    HealthTable,
    ImageTable,
    OnTable,
    RecipeFile,
    SourceTable,
)
from lumper.build.recipe.image_tags import FlavorTable, TagTable, templates
from lumper.build.recipe.settings import CacheTable, PushTable
from lumper.build.recipe.tag_templates import Flavor, Template
from lumper.build.source.full_source import Wanted
from lumper.build.source.objects import printable_path
from lumper.config.toml_lines import locate
from lumper.errors import Problem, RecipeError, SourceError
from lumper.model.deployment import Health, Service

RECIPE_FILE = "lumper.toml"
RECIPE_LIMIT = 64 << 10  # bytes
_MOST = 50  # problems that are told; a hostile file could have thousands
_TYPES = {
    "string_type": "give text in quotes",
    "int_type": "give a whole number",
    "float_type": "give a number",
    "bool_type": "give true or false",
    "dict_type": "give a table",
    "model_type": "give a table",
    "model_attributes_type": "give a table",
    "list_type": "give a list: [ … ]",
    "tuple_type": "give a list: [ … ]",
    "finite_number": "give a finite number",
    "greater_than": "give a number greater than {gt}",
    "greater_than_equal": "give a number of {ge} or more",
    "less_than_equal": "give a number of {le} or less",
    "missing": "this key is needed",
}
_SURE = 0.8  # of 1: how much a key must be like another one to be taken for it, if it is at home in another table


@dataclass(frozen=True)
class Conditions:
    """When a push is to be built: patterns as in model/patterns.py; None: in any case."""

    tags: tuple[str, ...] | None = None
    branches: tuple[str, ...] | None = None
    paths: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Recipe:
    """What to build, and what to run of it.

    `dockerfile` is relative to `context`, and that to the root of the repository. `tags` None: as
    model/images/image.py says.
    `name` is that of one of several images, and `image` its repository below the project's, "" for that itself.
    """

    dockerfile: str = "Dockerfile"
    context: str = "."
    target: str = ""
    args: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    tags: tuple[Template, ...] | None = None
    flavor: Flavor = field(default_factory=Flavor)
    service: Service | None = None
    conditions: Conditions = field(default_factory=Conditions)
    name: str = ""
    image: str = ""
    asked: Asked = field(default_factory=Asked)


@dataclass(frozen=True)
class Recipes:
    """All that a commit has to be built, and the conditions that hold for all of it."""

    recipes: tuple[Recipe, ...]
    conditions: Conditions = field(default_factory=Conditions)
    source: Wanted = field(default_factory=Wanted)

    @property
    def several(self) -> bool:
        """Whether they have names, and are builds of their own."""
        return bool(self.recipes[0].name)

    def named(self, name: str) -> Recipe:
        """The one of this name. Raises RecipeError."""
        for recipe in self.recipes:
            if recipe.name == name:
                return recipe
        raise RecipeError(RECIPE_FILE, (Problem(0, "", f"there is no [image.{name}] in it (any more)"),))


class Files(Protocol):
    """The files of a commit."""

    async def read(self, path: str, limit: int) -> bytes | None:
        """A file, or None. Raises SourceError if it is larger than `limit` bytes or cannot be read."""


async def read_recipes(files: Files, project: str) -> Recipes:
    """The recipes of a commit; without a `lumper.toml`, the defaults.

    Raises RecipeError, and SourceError where another try may help.
    """
    try:
        content = await files.read(RECIPE_FILE, RECIPE_LIMIT)
    except SourceError as exc:
        if exc.temporary:
            raise
        raise RecipeError(RECIPE_FILE, (Problem(0, "", str(exc)),), hint=exc.hint) from exc
    return Recipes((Recipe(),)) if content is None else parse_recipes(content, project)


def parse_recipes(content: bytes, project: str) -> Recipes:
    """Read the bytes of a `lumper.toml`. `project` names the service where the file does not. Raises RecipeError."""
    text, values = _toml(content)
    try:
        file = RecipeFile.model_validate(values)
    except ValidationError as exc:
        found = {_problem(error, text) for error in exc.errors(include_url=False)}
        problems = sorted(found, key=lambda problem: (problem.line, problem.where))
        if len(problems) > _MOST:
            problems[_MOST:] = [Problem(0, "", f"and {len(problems) - _MOST} more")]
        raise RecipeError(RECIPE_FILE, tuple(problems)) from exc
    service = _service(file.deploy, project) if file.deploy is not None else None
    common = _conditions(file.on)
    source = Wanted(file.source.submodules, file.source.lfs)
    if not file.image:
        return Recipes((_recipe(file.build, common, service),), common, source)
    deployed = file.deploy.image if file.deploy is not None else ""
    several = (
        replace(
            _recipe(table, _conditions(table.on), service if name == deployed else None),
            name=name,
            image=name if table.image is None else table.image,
        )
        for name, table in file.image.items()
    )
    return Recipes(tuple(several), common, source)


def _conditions(table: OnTable) -> Conditions:
    return Conditions(table.tags, table.branches, table.paths)


def _recipe(build: BuildTable, conditions: Conditions, service: Service | None) -> Recipe:
    return Recipe(
        dockerfile=build.dockerfile,
        context=build.context,
        target=build.target,
        args=build.args,
        labels=build.labels,
        tags=templates(build.tags) if build.tags is not None else None,
        flavor=Flavor(**dict(build.flavor)),
        service=service,
        conditions=conditions,
        asked=build.asked(),
    )


def _toml(content: bytes) -> tuple[str, dict[str, Any]]:
    try:
        text = content.removeprefix(b"\xef\xbb\xbf").decode("utf-8")
    except UnicodeDecodeError as exc:
        line = content.count(b"\n", 0, exc.start) + 1
        raise RecipeError(RECIPE_FILE, (Problem(line, "", "this is not UTF-8"),)) from exc
    try:
        return text, tomllib.loads(text)
    except ValueError as exc:
        words = str(exc) if isinstance(exc, tomllib.TOMLDecodeError) else "a number has too many digits"
        place = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)$", words)
        line = int(place[1] or text.rstrip().count("\n") + 1) if place else 0
        problem = Problem(line, "", printable_path(_plainly(words[: place.start()] if place else words)))
        raise RecipeError(RECIPE_FILE, (problem,)) from exc
    except RecursionError as exc:
        raise RecipeError(RECIPE_FILE, (Problem(0, "", "it is nested too deeply"),)) from exc


def _plainly(words: str) -> str:
    """What tomllib says, with names as they stand in the file.

    >>> _plainly("Cannot declare ('image', 'web') twice")
    '[image.web] is there twice'
    """
    if match := re.fullmatch(
        r"Cannot (declare|mutate immutable namespace|redefine namespace) \((.*?),?\)(?: twice)?", words
    ):
        name = ".".join(re.findall(r"['\"](.*?)['\"]", match[2]))
        return f"[{name}] is there twice" if match[1] == "declare" else f"{name} is there twice, in two ways"
    return {"Cannot overwrite a value": "this key is there twice"}.get(words, words)


def _service(table: DeployTable, project: str) -> Service:
    health = table.health
    port = health.port or next((port.container for port in table.ports if port.protocol == "tcp"), 0)
    return Service(
        name=table.name or service_name(project),
        ports=table.ports,
        env=table.env,
        volumes=table.volumes,
        command=table.command,
        health=Health(
            http=health.http,
            port=port if health.http else 0,
            command=health.command,
            interval=health.interval,
            timeout=health.timeout,
            stable=health.stable,
        ),
        stop_timeout=table.stop_timeout,
    )


def service_name(project: str) -> str:
    """A legal name for a service: the last part of the project's name.

    >>> service_name("group/My App")
    'my-app'
    """
    last = project.rstrip("/").rpartition("/")[2].lower()
    return re.sub(r"[^a-z0-9_.-]+", "-", last).strip("-_.")[:63].strip("-_.") or "service"


def _problem(error: Any, text: str) -> Problem:
    keys = [str(part) for part in error["loc"] if part != "[key]"]
    where = printable_path(".".join(keys))
    if error["type"] == "extra_forbidden":
        words = _unknown(keys)
    else:
        known = _TYPES.get(error["type"])
        limits = {key: int(value) if value == int(value) else value for key, value in _limits(error)}
        words = known.format(**limits) if known else error["msg"].removeprefix("Value error, ")
        words = words[:1].lower() + words[1:]
    return Problem(locate(text, keys), where, printable_path(words))


def _limits(error: Any) -> Iterator[tuple[str, float]]:
    return ((key, value) for key, value in error.get("ctx", {}).items() if key in ("gt", "ge", "le"))


def _unknown(keys: Sequence[str]) -> str:
    """What to say of a key that nobody knows."""
    *around, key = keys
    if around[:1] == ["image"] and len(around) > 1:
        around[1] = "NAME"
    here = ".".join("*" if part.isdigit() else part for part in around)
    known = _tables().get(here, {})
    tables = [table for table, fields in _tables().items() if key in fields and table and "*" not in table]
    elsewhere = [table for table in tables if table.startswith(f"{here}.")] or tables
    near = difflib.get_close_matches(key, list(known), n=1, cutoff=_SURE if elsewhere else 0.6)
    if near:
        return f"there is no such key; did you mean `{near[0]}`?"
    if elsewhere:
        return f"there is no such key here; it belongs under {' or '.join(f'[{table}]' for table in elsewhere)}"
    return "there is no such key; known are " + ", ".join(f"`{name}`" for name in known)


def _tables() -> dict[str, Mapping[str, object]]:
    models: dict[str, type[BaseModel]] = {
        "": RecipeFile,
        "source": SourceTable,
        "build": BuildTable,
        "build.flavor": FlavorTable,
        "build.cache": CacheTable,
        "build.push.*": PushTable,
        "build.push.*.tags.*": TagTable,
        "build.tags.*": TagTable,
        "image.NAME": ImageTable,
        "image.NAME.flavor": FlavorTable,
        "image.NAME.cache": CacheTable,
        "image.NAME.push.*": PushTable,
        "image.NAME.push.*.tags.*": TagTable,
        "image.NAME.tags.*": TagTable,
        "image.NAME.on": OnTable,
        "on": OnTable,
        "deploy": DeployTable,
        "deploy.health": HealthTable,
    }
    return {
        name: {field.alias or key: field for key, field in model.model_fields.items()} for name, model in models.items()
    }
