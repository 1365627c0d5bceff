"""Recipes as tests write them."""

from __future__ import annotations

import pytest

from lumper.build.recipe.recipe import Recipe, parse_recipes
from lumper.errors import RecipeError


def parse_recipe(content: bytes, project: str) -> Recipe:
    """The only recipe of a file that has one."""
    (recipe,) = parse_recipes(content, project).recipes
    return recipe


def problems_of(text: str | bytes) -> list[str]:
    """The problems of a recipe, as a person reads them."""
    with pytest.raises(RecipeError) as caught:
        parse_recipe(text.encode() if isinstance(text, str) else text, "owner/app")
    assert caught.value.name == "lumper.toml"
    return [str(problem) for problem in caught.value.problems]
