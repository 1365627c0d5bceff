"""Every option is explained where it stands in the reference."""

from __future__ import annotations

from importlib.resources import files

import pytest

from lumper.config.settings import options

LINES = files("lumper.config").joinpath("reference.toml").read_text("utf-8").splitlines()


def place(option: str) -> int:
    """The line, from 0, on which an option is given, commented out or not."""
    section, _, key = option.rpartition(".")
    begin = LINES.index(f"[{section}]") if section and f"[{section}]" in LINES else 0
    for number, line in enumerate(LINES[begin:], begin):
        if line.removeprefix("# ").startswith(f"{key} =") or line == f"[{option}]" or line == f"# [{option}]":
            return number
    raise AssertionError(f"{option} is not in reference.toml")


@pytest.mark.parametrize("option", options())
def test_an_option_has_a_line_of_explanation_above_it(option: str) -> None:
    above = LINES[place(option) - 1]
    assert above.startswith("# ")
    assert above.endswith((".", ")", ":"))
