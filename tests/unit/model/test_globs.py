"""Globs for repositories mean what patterns for refs and files mean, wherever both can be written."""

from __future__ import annotations

import itertools

import pytest

from lumper.model.globs import fits, is_repository_glob
from lumper.model.patterns import matches

PARTS = ("a", "b", "*", "a*", "*b", "a*b", "**")
NAMES = ("a", "b", "ab", "aab", "a/b", "ab/a", "a/b/a", "b/ab/a/b", "a.b/x")


@pytest.mark.parametrize("length", [1, 2, 3])
def test_they_fit_what_a_pattern_of_the_same_words_fits(length: int) -> None:
    globs = [glob for glob in map("/".join, itertools.product(PARTS, repeat=length)) if is_repository_glob(glob)]
    assert len(globs) > 5
    for glob, name in itertools.product(globs, NAMES):
        assert fits(glob, name) is matches([glob], name), (glob, name)
