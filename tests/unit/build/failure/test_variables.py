"""Why a variable in a FROM has no value."""

from __future__ import annotations

import pytest

from lumper.build.context.dockerfile import instructions
from lumper.build.failure.variables import unset


@pytest.mark.parametrize(
    ("dockerfile", "hint"),
    [
        ("FROM ${X}\n", "X is not known there: write `ARG X=…` before the first FROM."),
        ("FROM scratch\nARG X=a\nFROM $X\n", "move `ARG X` there from line 2."),
        (
            "ARG X\nFROM scratch\nFROM debian:${X}\n",
            "X has no value: give its ARG one, or lumper.toml: [build] args = { X",
        ),
        ('ARG X=""\nFROM scratch\nFROM debian:${X}\n', "X has no value"),
        ("ARG A=1 X\nFROM debian:${X}\n", "X has no value"),
        ("ARG X=debian\nFROM scratch\nARG X\nFROM $X:$Y\n", "Y is not known there"),
        ("ARG X=debian\nFROM $X\n", ""),
        ("FROM ${X:-debian}\n", ""),
        ("FROM --platform=$BUILDPLATFORM debian\n", ""),
    ],
)
def test_a_variable_without_a_value_is_explained(dockerfile: str, hint: str) -> None:
    text = dockerfile.encode()
    last = [one for one in instructions(text) if one.keyword == b"FROM"][-1]
    told = unset(last, text)
    assert hint in told
    assert bool(hint) == bool(told)
