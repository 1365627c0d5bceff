"""A text is found in the lines of a log, whatever colours and escapes stand there, and nowhere else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumper.errors import Invalid
from lumper.model.builds.build import Output, Step, StepState
from lumper.model.builds.log import to_line
from lumper.model.builds.log_search import LogSearch
from parts.suite.pace import takes_less_than


def block(*texts: str, step: int = 1) -> bytes:
    return to_line(Output(step, 1, 1732440000.5, "\n".join(texts))).encode()


def found(query: str, *texts: str, exact: bool = False) -> list[int]:
    """The numbers of the lines that have it."""
    return [hit.line for hit in LogSearch(query, exact=exact).look(block(*texts))]


def test_capital_letters_count_only_if_asked_for() -> None:
    assert found("ERROR", "an error", "Error: x", "none") == [1, 2]
    assert found("Error", "an error", "Error: x", exact=True) == [2]
    assert found("ÄÖ", "no", "x äö y") == [2]


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("error", "\x1b[1;31merr\x1b[0mor"),
        ("link text", "\x1b]8;;https://example.org\x07link\x1b]8;;\x07 text"),
        ("link text", "\x1b]8;;https://example.org\x1b\\link\x1b]8;;\x1b\\ text"),
        ('say "hi"', 'they say "hi" to'),
        ("\\u001b", "a literal \\u001b[31m stands here"),
        ("c:\\temp\\new", "in C:\\Temp\\new"),
        ("\t", "a\tb"),
        ("🐋", "a whale 🐋"),
    ],
)
def test_what_a_person_reads_is_found(query: str, text: str) -> None:
    assert found(query, "before", text, "after") == [2]


@pytest.mark.parametrize("query", ['"o":1', "x", "1732440000", '","t"', "31m", "}", ".*"])
def test_what_is_not_in_the_text_is_not_found(query: str) -> None:
    assert found(query, "\x1b[31mred\x1b[0m", "abc") == []


def test_lines_are_counted_in_their_step_from_block_to_block() -> None:
    search = LogSearch("needle")
    first = block("hay", "hay") + to_line(Step(2, "RUN needle", StepState.RUNNING, 1.0)).encode() + block("hay", step=2)
    assert list(search.look(first)) == []
    second = block("needle", step=2) + b"half a needle\n" + block("a NEEDLE", "hay", "needle")
    assert [(hit.step, hit.line) for hit in search.look(second)] == [(2, 2), (1, 3), (1, 5)]


@given(
    st.lists(st.text('aAb\\"u01tbn\t[m,:äÄ', max_size=9), min_size=1, max_size=9),
    st.text('aAb\\"u0:äÄ', min_size=1, max_size=3),
)
def test_it_finds_what_a_plain_look_finds(texts: list[str], query: str) -> None:
    assert found(query, *texts) == [n for n, text in enumerate(texts, 1) if query.lower() in text.lower()]


@pytest.mark.parametrize("query", ["", "two\nlines", "x" * 501])
def test_what_cannot_be_looked_for_is_refused(query: str) -> None:
    with pytest.raises(Invalid):
        LogSearch(query)


@pytest.mark.parametrize("text", ["\x1b]" * 20_000, "\x1b[" * 20_000, "\\" * 60_000, "a" * 60_000])
def test_no_line_takes_long(text: str) -> None:
    with takes_less_than(1):
        found("a" * 400 + "b", text)
