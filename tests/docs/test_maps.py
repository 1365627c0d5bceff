"""A package of many modules begins with a map of them, so that a newcomer finds the room for a change."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src/lumper"
ARCHITECTURE = (Path(__file__).parents[2] / "docs/architecture.md").read_text("utf-8")
MODULES = [path.relative_to(SOURCE) for path in SOURCE.rglob("*.py")]
MANY = 20
PACKAGES = [
    folder.parent for folder in sorted(SOURCE.rglob("__init__.py")) if len(list(folder.parent.glob("*.py"))) > MANY
]


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: str(package.relative_to(SOURCE)))
def test_the_docstring_of_a_large_package_names_each_module_and_no_other(package: Path) -> None:
    words = ast.get_docstring(ast.parse((package / "__init__.py").read_text("utf-8"))) or ""
    named = set(re.findall(r"\b(\w+)\.py\b", words))
    assert named == {path.stem for path in package.glob("*.py")} - {"__init__"}


@pytest.mark.parametrize("module", sorted(set(re.findall(r"`((?:\w+/)*\w+\.py)`", ARCHITECTURE))))
def test_each_module_that_the_architecture_speaks_of_is_there(module: str) -> None:
    assert _is_there(module)


def test_each_module_that_the_code_speaks_of_is_there() -> None:
    gone = {
        f"{path.relative_to(SOURCE)}: {module}"
        for path in SOURCE.rglob("*.py")
        for module in re.findall(r"(?<![\w/.])(?:\w+/)*\w+\.py\b", path.read_text("utf-8"))
        if not _is_there(module)
    }
    assert not gone


def _is_there(module: str) -> bool:
    return any(f"/{path.as_posix()}".endswith(f"/{module}") for path in MODULES)
