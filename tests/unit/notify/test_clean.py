from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumper.notify.clean import Excerpt, clean_line, one_line


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("plain \t text", "plain \t text"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b[2J\x1b[1;1Hgone", "gone"),
        ("\x1b]8;;javascript:alert(1)\x07link\x1b]8;;\x07", "link"),
        ("\x1b]0;title\x1b\\rest", "rest"),
        ("\x1b]unended", "unended"),
        ("\x9b31mred", "red"),
        ("\x1b(Bascii\x1bc", "ascii"),
        ("10%\r50%\r100%", "100%"),
        ("windows\r\n", "windows"),
        ("a\x00b\x07c\x7fd\x08e", "abcde"),
        ("good\u202efdp.exe", "goodfdp.exe"),
        ("half \ud800 pair", "half � pair"),
        ("ünïcode \U0001f680", "ünïcode \U0001f680"),
    ],
)
def test_a_line_is_cleaned_of_all_that_is_no_text(raw: str, clean: str) -> None:
    assert clean_line(raw) == clean


def test_a_line_without_end_is_cut_and_quickly() -> None:
    assert len(clean_line("\x1b]" * 50_000_000)) < 20_001
    assert clean_line("x" * 100, 10) == "xxxxxxxxx…"


@given(st.text(st.characters(exclude_categories=()), max_size=300))
def test_one_line_is_printable_and_one_line_whatever_comes(text: str) -> None:
    line = one_line(text)
    assert line.isprintable()
    assert len(line.splitlines()) <= 1
    line.encode()


def test_one_line_joins_what_was_several() -> None:
    assert one_line("v1\r\nBcc: evil@example.org\u2028x\x85y") == "v1 Bcc: evil@example.org x y"


def test_a_short_text_is_kept_whole() -> None:
    excerpt = Excerpt(["one", "two"], 100)
    assert (excerpt.data(), excerpt.notice) == (b"one\ntwo\n", "")
    assert excerpt.last(1) == ["two"]
    assert excerpt.last(9) == ["one", "two"]


def test_a_long_text_keeps_head_and_tail_and_says_what_is_left_out() -> None:
    excerpt = Excerpt((f"line {n:04}" for n in range(1000)), 200)
    data = excerpt.data().decode()
    assert len(data) < 350
    assert data.startswith("line 0000\nline 0001\n")
    assert data.endswith("line 0998\nline 0999\n")
    kept = data.count("line ")
    assert f"{1000 - kept} lines ({(1000 - kept) * 10:,} bytes) are left out" in excerpt.notice
    assert excerpt.last(3) == ["line 0997", "line 0998", "line 0999"]


def test_the_last_lines_reach_back_into_the_head_if_nothing_is_between() -> None:
    excerpt = Excerpt((f"{n}" for n in range(8)), 16)
    assert excerpt.notice == ""
    assert excerpt.last(6) == ["2", "3", "4", "5", "6", "7"]
