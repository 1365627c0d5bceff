"""The format of a build's log."""

from __future__ import annotations

import pytest

from lumper.model.builds.build import Output, Step, StepState
from lumper.model.builds.log import from_line, render, to_line

RECORDS: list[Step | Output] = [
    Step(1, "[1/2] FROM scratch", StepState.CACHED, 0.0),
    Step(2, "[2/2] RUN make", StepState.RUNNING, 1.0),
    Output(2, 1, 1.5, "hällo \x1b[31mred\ud800"),
    Step(2, "[2/2] RUN make", StepState.FAILED, 2.0, "exit code 2"),
]


@pytest.mark.parametrize("record", RECORDS)
def test_a_record_survives_the_way_through_the_log(record: Step | Output) -> None:
    line = to_line(record)
    assert line.isascii()
    assert line.count("\n") == 1
    assert from_line(line) == record


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b'"x"', b"{}", b'{"st":"nonsense","s":1,"n":"x","t":1}'])
def test_a_broken_line_is_a_value_error(line: bytes) -> None:
    with pytest.raises(ValueError, match=r".*"):
        from_line(line)


def test_the_text_names_steps_once_and_their_ends() -> None:
    assert [line.split("  ", 1)[1] for line in render(RECORDS)] == [
        "#1 CACHED [1/2] FROM scratch",
        "#2 [2/2] RUN make",
        "#2 hällo \x1b[31mred\ud800",
        "#2 FAILED [2/2] RUN make: exit code 2",
    ]
