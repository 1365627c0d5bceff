"""A log that comes in pieces is told as one that comes at once, and takes no more memory than a mail."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from lumper.model.builds.build import Output, Step, StepState
from lumper.model.builds.log import to_line
from lumper.notify.told_log import LOG_LIMIT, ToldLog

AT = 1732440000.0
LINES = (
    to_line(Step(1, "[1/2] RUN one", StepState.RUNNING, AT)).encode(),
    to_line(Output(1, 1, AT, "wörds")).encode(),
    to_line(Step(1, "[1/2] RUN one", StepState.FAILED, AT, "exit code: 2")).encode(),
    to_line(Step(2, "[2/2] RUN two", StepState.FAILED, AT, "exit code: 3")).encode(),
    b"\xff not ours\n",
    b"\n",
)


def told(*pieces: bytes) -> tuple[bytes, str, bool]:
    log = ToldLog()
    for piece in pieces:
        log.feed(piece)
    log.end()
    return log.excerpt.data(), log.failed, log.empty


@given(lines=st.lists(st.sampled_from(LINES)), cuts=st.lists(st.integers(0, 500)), whole=st.booleans())
def test_where_pieces_end_makes_no_difference(lines: list[bytes], cuts: list[int], whole: bool) -> None:
    data = b"".join(lines)
    data = data if whole else data[:-1]
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    assert told(*(data[a:b] for a, b in pairwise(places))) == told(data)


def test_the_last_step_that_failed_is_told() -> None:
    assert told(*LINES)[1:] == ("[2/2] RUN two", False)
    assert told() == (b"", "", True)


def test_a_long_log_takes_no_more_memory_than_what_is_told_of_it() -> None:
    piece = to_line(Output(1, 1, AT, "x" * 100_000)).encode() * 10
    log = ToldLog()
    tracemalloc.start()
    try:
        for _ in range(60):
            log.feed(piece)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    log.end()
    assert 60 * len(piece) > 5 * LOG_LIMIT
    assert peak < 2 * LOG_LIMIT
    assert "lines" in log.excerpt.notice
