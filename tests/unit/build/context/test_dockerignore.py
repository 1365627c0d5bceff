from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumper.build.context.dockerignore import parse_dockerignore
from lumper.errors import RecipeError
from parts.suite.pace import takes_less_than


def left_out(text: str, *paths: str) -> list[str]:
    """Which of the paths are ignored."""
    ignore = parse_dockerignore(text.encode("utf-8", "surrogateescape"))
    return [path for path in paths if ignore.ignores(path)]


@pytest.mark.parametrize(
    ("pattern", "ignored", "kept"),
    [
        ("a", "a a/b a/b/c", "b/a ab A"),
        ("/a", "a a/b", "b/a"),
        ("a/", "a a/b", "b/a"),
        ("./a//b/../c", "a/c a/c/d", "a/b a"),
        ("*", "a .x a/b", ""),
        ("*.md", "x.md .md", "a/x.md x.mdx"),
        ("*/temp*", "a/temp a/temporary.txt a/temp/x", "temp a/b/temp"),
        ("*/*/temp*", "a/b/temporary", "a/temp a/b/c/temp"),
        ("temp?", "tempa tempb", "temp tempab temp/"),
        ("**/*.go", "x.go a/x.go a/b/c.go", "x.gox"),
        ("**", "a a/b/c", ""),
        ("**/foo", "foo a/foo a/b/foo foo/x a/foo/x", "afoo foob"),
        ("foo/**", "foo/a foo/a/b", "foo food/a"),
        ("foo/**/bar", "foo/bar foo/a/bar foo/a/b/bar", "foo/abar bar"),
        ("**/node_modules/**", "node_modules/x a/node_modules/x/y", "node_modules anode_modules/x"),
        ("**foo", "foo barfoo a/foo a/barfoo", "foob"),
        ("foo**", "foo/a foobar foobar/x foo", "fo"),
        ("foo**bar", "foobar foo/bar foox/y/bar", "fooxbar foo/xbar"),
        ("[a-c]x", "ax bx cx", "dx x"),
        ("[^a-c]x", "dx", "ax bx x"),
        ("[\\]x]", "] x", "\\"),
        ("a\\*", "a*", "ab a\\*"),
        ("a.b", "a.b", "axb"),
        ("a+(b)|{c}$^", "a+(b)|{c}$^", "ab"),
        ("..", "", "a a/.."),
        ("../a", "", "a"),
        (".", "", "a"),
        ("/", "", "a"),
        ("ä?", "äö", "ä äöü"),
    ],
)
def test_a_pattern_leaves_out_what_the_reference_says(pattern: str, ignored: str, kept: str) -> None:
    assert left_out(pattern, *ignored.split(), *kept.split()) == ignored.split()


@pytest.mark.parametrize(
    ("text", "ignored", "kept"),
    [
        ("*.md\n!README.md", "a.md", "README.md x/README.md"),
        ("*.md\n!README*.md\nREADME-secret.md", "a.md README-secret.md", "README.md"),
        ("*.md\nREADME-secret.md\n!README*.md", "a.md", "README.md README-secret.md"),
        ("a\n!a/b\na/b/c", "a/x a/b/c a/b/c/d", "a/b a/b/x"),
        ("*\n!src/**/*.py", "x src/a.txt", "src/a.py src/b/c.py"),
        ("!a", "", "a"),
        ("a\n! a", "", "a"),
    ],
)
def test_the_last_line_that_matches_decides(text: str, ignored: str, kept: str) -> None:
    assert left_out(text, *ignored.split(), *kept.split()) == ignored.split()


def test_comments_blank_lines_line_ends_spaces_and_a_byte_order_mark_are_passed_over() -> None:
    assert left_out("\ufeffa\r\n\r\n# b\n   \n  c  \n#d", "a", "b", "c", "d", "# b", "#d") == ["a", "c"]


def test_only_a_hash_at_the_very_beginning_is_a_comment() -> None:
    assert left_out(" #a", "#a") == ["#a"]


def test_names_that_are_not_utf8_are_matched() -> None:
    assert left_out("*.txt\n\udcff*", "\udce9.txt", "\udcffx", "\udce9") == ["\udce9.txt", "\udcffx"]


def test_paths_in_any_order_give_the_same_answers() -> None:
    ignore = parse_dockerignore(b"a/b\n**/x\n!a/b/keep")
    paths = ["a/b/c", "a", "a/b/keep", "z/x", "a/c", "a/b/keep", "z", "a/b/c"]
    assert [ignore.ignores(path) for path in paths] == [True, False, False, True, False, False, False, True]


@pytest.mark.parametrize("line", ["[", "[]", "[a", "[a-", "[-a]", "[z-a]", "a\\", "[^", "!"])
def test_a_pattern_that_is_none_is_an_error_with_its_line(line: str) -> None:
    with pytest.raises(RecipeError, match="line 2: ") as caught:
        parse_dockerignore(f"fine\n{line}\n".encode(), name="x.dockerignore")
    assert caught.value.name == "x.dockerignore"


def test_too_many_patterns_are_refused() -> None:
    with pytest.raises(RecipeError, match="at most 5000"):
        parse_dockerignore(b"a\n" * 5001)


def test_a_pattern_of_many_stars_takes_no_time() -> None:
    with takes_less_than(10):
        assert left_out("*a" * 200 + "b\n" + "**/a*" * 200 + "b", "a" * 4000, "a/" * 2000 + "a") == []


def as_regex(pattern: str) -> re.Pattern[str]:
    """What moby/patternmatcher makes of a pattern, in its own way: a regular expression."""
    if pattern.startswith("**") and not set(pattern[2:]) & set("*?") and pattern[2:3] != "/":
        return re.compile(".*" + re.escape(pattern[2:]), re.DOTALL)
    out, rest = "", pattern
    while rest:
        if rest.startswith("**"):
            rest = rest[2:].removeprefix("/") if rest[2:3] == "/" else rest[2:]
            out += "(.*/)?" if rest else ".*"
        else:
            out += {"*": "[^/]*", "?": "[^/]"}.get(rest[0], re.escape(rest[0]))
            rest = rest[1:]
    return re.compile(out, re.DOTALL)


segments = st.text("ab*?", min_size=1, max_size=4)
words = st.text("ab", min_size=1, max_size=3)


@given(st.lists(segments, min_size=1, max_size=4), st.lists(words, min_size=1, max_size=4))
def test_the_automaton_agrees_with_the_regular_expression(pattern: list[str], path: list[str]) -> None:
    regex = as_regex("/".join(pattern))
    expected = any(regex.fullmatch("/".join(path[: depth + 1])) for depth in range(len(path)))
    assert (left_out("/".join(pattern), "/".join(path)) != []) == expected
