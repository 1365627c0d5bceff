"""`lumper recipe`: the `lumper.toml` of a repository, checked before it is pushed."""

from __future__ import annotations

import sys
from pathlib import Path

from cyclopts import App

from lumper.build.recipe.recipe import RECIPE_FILE, RECIPE_LIMIT, parse_recipes
from lumper.cli.output import plain, show_json, warn
from lumper.errors import Problem, RecipeError

app = App(name="recipe", help="What to build from a repository: its lumper.toml.")


@app.command
def check(folder: Path = Path(), /, *, json: bool = False) -> None:
    """Read the lumper.toml of a work tree and tell all that is wrong with it, each with its line; status 1 if it is.

    Example: lumper recipe check .

    Parameters
    ----------
    folder
        The root of the repository.
    json
        Print the problems as JSON.
    """
    problems = problems_of(folder)
    if json:
        show_json([vars(problem) for problem in problems])
    else:
        for problem in problems:
            warn(plain(f"{RECIPE_FILE}: {problem}"))
    if problems:
        sys.exit(1)
    if not json:
        without = f"There is no {RECIPE_FILE}: the Dockerfile at the root is built."
        print(f"{RECIPE_FILE} is right." if (folder / RECIPE_FILE).exists() else without)


@app.command
def schema() -> None:
    """Print the JSON Schema of lumper.toml, for editors: it completes keys and marks what is wrong.

    Example: lumper recipe schema > lumper-toml.schema.json
    """
    from lumper.build.recipe.schema import recipe_schema

    show_json(recipe_schema())


def problems_of(folder: Path) -> tuple[Problem, ...]:
    """What is wrong with the recipe in a work tree, also that a Dockerfile it names is not there."""
    if not folder.is_dir():
        return (Problem(0, "", f"there is no folder {folder}"),)
    try:
        with (folder / RECIPE_FILE).open("rb") as file:
            content = file.read(RECIPE_LIMIT + 1)
    except FileNotFoundError:
        content = b""
    except OSError as exc:
        return (Problem(0, "", f"it cannot be read: {exc.strerror}"),)
    if len(content) > RECIPE_LIMIT:
        return (Problem(0, "", f"it is larger than {RECIPE_LIMIT} bytes"),)
    try:
        recipes = parse_recipes(content, folder.resolve().name).recipes
    except RecipeError as exc:
        return exc.problems
    return tuple(
        Problem(
            0, f"image.{recipe.name}" if recipe.name else "build", f"there is no file {wanted} in {folder.resolve()}"
        )
        for recipe in recipes
        if not (folder / (wanted := Path(recipe.context) / recipe.dockerfile)).is_file()
    )
