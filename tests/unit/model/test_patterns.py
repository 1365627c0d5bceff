from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lumper.model.patterns import any_matches, matches, pattern_problem, version_of
from parts.suite.pace import takes_less_than


@pytest.mark.parametrize(
    ("patterns", "name", "meant"),
    [
        (["*"], "v1.2.3", True),
        (["*"], "release/1", False),
        (["**"], "release/1", True),
        (["v*"], "v1", True),
        (["v*"], "w1", False),
        (["v?.?"], "v1.2", True),
        (["release/**"], "release/a/b", True),
        (["release/**"], "release", False),
        (["src/**/*.py"], "src/main.py", True),
        (["src/**/*.py"], "src/a/b/main.py", True),
        (["src/**/*.py"], "src/a/b/main.js", False),
        (["[ab]*"], "beta", True),
        (["[!ab]*"], "beta", False),
        (["a.c"], "abc", False),
        (["*", "!*-rc.*"], "v1.0.0-rc.1", False),
        (["*", "!*-rc.*", "v2*"], "v2.0.0-rc.1", True),
        (["!wip/**"], "main", True),
        (["!wip/**"], "wip/x", False),
        ([], "v1", False),
    ],
)
def test_globs(patterns: list[str], name: str, meant: bool) -> None:
    assert matches(patterns, name) is meant


@pytest.mark.parametrize(
    ("pattern", "inside", "outside"),
    [
        (">=1.2 <2", ["1.2.0", "v1.9.9"], ["1.1.9", "2.0.0", "2.0.0-rc.1", "1.5.0-rc.1", "main"]),
        (">= 1.2.3", ["1.2.3", "9.0.0"], ["1.2.2", "1.2.3-rc.1"]),
        (">1.2.3", ["1.2.4"], ["1.2.3"]),
        (">1.2", ["1.3.0"], ["1.2.9"]),
        ("<1.2", ["1.1.9"], ["1.2.0", "1.2.0-rc.1"]),
        ("<=1.2.3", ["1.2.3", "0.1.0"], ["1.2.4"]),
        ("<=1.2", ["1.2.9"], ["1.3.0"]),
        ("=1.2.3", ["1.2.3", "v1.2.3", "1.2.3+build.5"], ["1.2.4", "1.2.3-rc.1"]),
        ("=1.2", ["1.2.0", "1.2.9"], ["1.3.0"]),
        ("=1.x", ["1.0.0", "1.9.9"], ["2.0.0"]),
        ("^1.2.3", ["1.2.3", "1.9.0"], ["2.0.0", "1.2.2", "1.3.0-rc.1"]),
        ("^0.2.3", ["0.2.3", "0.2.9"], ["0.3.0"]),
        ("^0.0.3", ["0.0.3"], ["0.0.4"]),
        ("^0.0", ["0.0.9"], ["0.1.0"]),
        ("^1", ["1.0.0", "1.9.9"], ["2.0.0"]),
        ("~1.2.3", ["1.2.3", "1.2.9"], ["1.3.0"]),
        ("~1.2", ["1.2.0", "1.2.9"], ["1.3.0"]),
        ("~1", ["1.9.9"], ["2.0.0"]),
        (">=1.2.3-rc.1", ["1.2.3-rc.1", "1.2.3-rc.2", "1.2.3", "1.3.0"], ["1.2.3-beta", "1.3.0-rc.1"]),
        ("=1.2.3-rc.1", ["1.2.3-rc.1"], ["1.2.3", "1.2.3-rc.2"]),
        ("<1.0 || >=2", ["0.9.0", "2.0.0"], ["1.5.0"]),
    ],
)
def test_ranges_of_versions(pattern: str, inside: list[str], outside: list[str]) -> None:
    assert pattern_problem(pattern) == ""
    assert [name for name in inside if not matches([pattern], name)] == []
    assert [name for name in outside if matches([pattern], name)] == []


def test_versions_sort_as_semver_2_has_it() -> None:
    order = ["1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0"]
    keys = [version_of(name) for name in order]
    assert keys == sorted(key for key in keys if key)


def test_one_name_of_several_is_enough() -> None:
    assert any_matches(["src/**"], ["README.md", "src/a"])
    assert not any_matches(["src/**"], ["README.md"])


@pytest.mark.parametrize(
    "pattern", ["", "!", "a\nb", "x" * 300, ">=", ">=one", "^1.2.3.4", "~", ">1 ||", "v[", "!a/[b", "[/]"]
)
def test_a_pattern_that_is_none_is_told(pattern: str) -> None:
    assert pattern_problem(pattern)


@pytest.mark.parametrize("pattern", ["v[12]", "[]]x", "[!]]", "[a]/[b]", "a]"])
def test_a_pattern_with_brackets_is_one(pattern: str) -> None:
    assert pattern_problem(pattern) == ""


def test_no_pattern_is_slow() -> None:
    with takes_less_than(10):
        matches(["*a" * 30 + "b", "**/" * 30 + "x", "[" * 50], "a" * 2000)


@settings(max_examples=300, deadline=None)
@given(patterns=st.lists(st.text(max_size=12), max_size=3), name=st.text(max_size=20))
def test_whatever_is_asked_there_is_an_answer(patterns: list[str], name: str) -> None:
    assert matches(patterns, name) in (True, False)
    for pattern in patterns:
        assert isinstance(pattern_problem(pattern), str)
