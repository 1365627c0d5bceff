"""The private parts of libraries are where Lumper expects them, and only one module reaches for those of others."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import python_version

import pytest

import lumper
from lumper.system import library_internals

SOURCE = Path(lumper.__file__).parent
DOCUMENTED = {"_mapping", "_replace", "_exit", "_asdict", "_fields"}  # public in spite of their names


def missing(where: str, names: tuple[str, ...]) -> list[str]:
    """Those of the names that the class neither defines nor assigns."""
    module, _, name = where.partition(":")
    found = getattr(importlib.import_module(module), name, None)
    if found is None:
        return [name]
    source = "\n".join(inspect.getsource(one) for one in found.__mro__ if one.__module__.startswith(module[:5]))
    return [one for one in names if not re.search(rf"(def |self\.|^\s+){one}\b", source, re.MULTILINE)]


def installed(where: str) -> str:
    library = where.partition(".")[0]
    try:
        return f"{library} {version(library)}"
    except PackageNotFoundError:  # it is Python's own
        return f"Python {python_version()}"


@pytest.mark.parametrize("where", library_internals.PRIVATE)
def test_the_installed_version_has_the_private_parts(where: str) -> None:
    lost = missing(where, library_internals.PRIVATE[where])
    assert not lost, (
        f"{installed(where)} has no {', '.join(lost)} in {where.replace(':', '.')}. "
        "Adapt lumper.system.library_internals and its users, or lower the ceiling of the library in pyproject.toml."
    )


def test_a_part_that_has_moved_is_noticed() -> None:
    assert missing("aiohttp.web_protocol:RequestHandler", ("_waiter", "_wait")) == ["_wait"]
    assert missing("aiohttp.web_protocol:Handler", ("_waiter",)) == ["Handler"]


def foreign(tree: ast.AST) -> Iterator[str]:
    """Private attributes of other objects than `self` and `cls`."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute) or not re.match(r"_[a-z]", node.attr) or node.attr in DOCUMENTED:
            continue
        if not isinstance(node.value, ast.Attribute | ast.Name):
            continue  # super()._method() is a subclass's
        base = ast.unparse(node.value)
        if base not in ("self", "cls"):
            yield f"{base}.{node.attr}"


def test_no_other_module_reaches_for_private_parts_of_libraries() -> None:
    found = {
        f"{file.relative_to(SOURCE)}: {part}"
        for file in SOURCE.rglob("*.py")
        if file.name != "library_internals.py" and not file.name.endswith("_pb2.py")
        for part in foreign(ast.parse(file.read_text()))
    }
    assert not found, f"Name these in lumper.system.library_internals: {sorted(found)}"
