"""Attributes of the folders around a context."""

from __future__ import annotations

import pytest

from lumper.build.context.attributes import inherited
from parts.suite.pace import takes_less_than


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("*.sh text eol=crlf", ["*.sh text eol=crlf"]),
        ("/a/b/*.sh eol=crlf", ["/*.sh eol=crlf"]),
        ("a/b/c/*.sh eol=crlf", ["c/*.sh eol=crlf"]),
        ("a/*/x ident", ["/x ident"]),
        ("**/x ident", ["**/x ident"]),
        ("a/**/x ident", ["**/x ident"]),
        ("a/** ident", ["/** ident"]),
        ("a/x ident", []),
        ("c/b/x ident", []),
        ("/x ident", []),
        ("a/b ident", []),  # that of the folder itself says nothing of its files
        ("[attr]mine eol=crlf", ["[attr]mine eol=crlf"]),
        ('"a/b/with space" ident', ['"/with space" ident']),
        ("# a comment", []),
        ("", []),
        ("alone", []),
    ],
)
def test_a_line_around_a_folder_is_one_of_the_folder_itself(line: str, found: list[str]) -> None:
    assert inherited([("", line.encode())], "a/b").decode().splitlines() == found


def test_the_inner_folder_comes_last_and_wins() -> None:
    files = [("", b"*.a eol=lf\n"), ("a", b"b/*.a eol=crlf\n")]
    assert inherited(files, "a/b") == b"*.a eol=lf\n/*.a eol=crlf\n"


def test_no_pattern_of_strangers_takes_long() -> None:
    with takes_less_than(5):
        inherited([("", ("/".join(["**"] * 500) + "/x ident\n").encode() * 20)], "/".join("a" * 30))
