"""What may be printed on a person's terminal of what a build has printed."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumper.model.builds.terminal import visible

COLOUR = re.compile(r"\x1b\[[0-9;:]*m")
PLAIN = "\x1b[0m"


@pytest.mark.parametrize(
    ("printed", "seen"),
    [
        (
            "plain \t text, naïve 日本 \U0001f469\u200d\U0001f4bb",
            "plain \t text, naïve 日本 \U0001f469\u200d\U0001f4bb",
        ),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b[2J\x1b[1;1H\x1b[?1049hgone", "gone"),
        ("\x1b]0;title\x07a\x1b]2;title\x1b\\b\x9d0;title\x9cc", "abc"),
        ("\x1b]52;c;cm0gLXJmIH4K\x07clipboard", "clipboard"),
        ("\x1b]8;;javascript:alert(1)\x07link\x1b]8;;\x07", "link"),
        ("\x1bP$q m\x1b\\\x1b_apc\x1b\\\x1bcreset\x1b(0", "reset"),
        ("\x9b31mred\x85\u2028\x00\x07\x08\x7f", "red"),
        ("\x1b[c\x1b[6n\x1b[5i", ""),
        ("10%\r50%\r100%", "100%"),
        ("100%\r\x1b[K\r", "100%"),
        ("Fetching\r        \rdone\r", "done"),
        ("\r\r", ""),
        ("user\u202egnp.exe", "user\ufffdgnp.exe"),
        ("half \ud800", "half \ufffd"),
        ("\x1b[", ""),
        ("\x1b", ""),
    ],
)
def test_what_a_terminal_would_obey_is_left_out(printed: str, seen: str) -> None:
    assert visible(printed) == seen


@pytest.mark.parametrize(
    ("printed", "seen"),
    [
        ("\x1b[1;31mred\x1b[0m", f"\x1b[1;31mred\x1b[0m{PLAIN}"),
        ("\x1b[38;5;208mo\x1b[48;2;1;2;3mp", f"\x1b[38;5;208mo\x1b[48;2;1;2;3mp{PLAIN}"),
        ("\x1b[38:2::8:5:6mq", f"\x1b[38:2::8:5:6mq{PLAIN}"),
        ("\x1b[38;5;8mgrey", f"\x1b[38;5;8mgrey{PLAIN}"),
        ("\x1b[5mblinks\x1b[1;8mhides\x1b[06mblinks", "blinkshidesblinks"),
        ("\x1b[>4mkeys\x1b[?25mx\x1b[1 mspaces", "keysxspaces"),
        (f"\x1b[{'1;' * 99}mlong", "long"),
        ("\x9b32mgreen", f"\x1b[32mgreen{PLAIN}"),
        ("\x1b[31mold\rnew", "new"),
        ("plain", "plain"),
    ],
)
def test_colours_go_to_a_terminal_and_end_with_the_line(printed: str, seen: str) -> None:
    assert visible(printed, colours=True) == seen


@given(st.text(st.sampled_from("\x1b\x9b\x9d[]()0;38:mJHP\\\x07\x00\r\n\ta\u202e\ud800\x85?")), st.booleans())
def test_nothing_else_is_left_whatever_comes(printed: str, colours: bool) -> None:
    seen = visible(printed, colours=colours)
    if colours:
        seen = COLOUR.sub("", seen)
    assert all(character == "\t" or character.isprintable() for character in seen)
    seen.encode()


def test_a_long_hostile_line_is_read_in_the_time_of_a_long_line() -> None:
    for flood in ("\x1b]", "\x1b[0;", "\r", "\x1b[38;5;1m", "\x9b", "\x1bP\r"):
        assert len(visible(flood * 300_000, colours=True)) <= 4_000_000
