"""A package of many modules begins with a map of them, so that a newcomer finds the room for a change."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src/lumper"
MANY = 20
PACKAGES = [
    folder.parent for folder in sorted(SOURCE.rglob("__init__.py")) if len(list(folder.parent.glob("*.py"))) > MANY
]


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: str(package.relative_to(SOURCE)))
def test_the_docstring_of_a_large_package_names_each_module_and_no_other(package: Path) -> None:
    words = ast.get_docstring(ast.parse((package / "__init__.py").read_text("utf-8"))) or ""
    named = set(re.findall(r"\b(\w+)\.py\b", words))
    assert named == {path.stem for path in package.glob("*.py")} - {"__init__"}
