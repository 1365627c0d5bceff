"""The page of errors tells every error with its sentence and what to do, and every code of the registry."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lumper import errors
from lumper.registry.errors import CODES, told_code

PAGE = (Path(__file__).parents[2] / "docs/reference/errors.md").read_text("utf-8")
ERRORS = [
    value
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, errors.LumperError) and not name.startswith("_")
]
ROWS = {
    name: (temporary, sentence, hint)
    for name, temporary, sentence, hint in re.findall(r"(?m)^\| `(\w+)`( \*\(temporary\)\*)? \| (.+) \| (.*) \|$", PAGE)
}


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
def test_an_error_is_told_with_its_sentence_and_hint(error: type[errors.LumperError]) -> None:
    temporary, sentence, hint = ROWS[error.__name__]
    assert sentence == (error.__doc__ or "").splitlines()[0]
    assert bool(temporary) is error.temporary
    assert hint.strip() or error is errors.LumperError
    if error.default_hint:
        assert hint == error.default_hint


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
def test_an_error_is_in_the_tree_on_top_of_the_module(error: type[errors.LumperError]) -> None:
    assert re.search(rf"\b{error.__name__}\b", errors.__doc__ or "")


@pytest.mark.parametrize("code", CODES)
def test_a_code_of_the_registry_is_told(code: str) -> None:
    assert f"| `{code}` | {CODES[code].status} | {CODES[code].text} | `{told_code(code)}` |" in PAGE
