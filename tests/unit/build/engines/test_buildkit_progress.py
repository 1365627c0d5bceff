from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from lumper.build.engines.buildkit.progress import CLIPPED, LINE_LIMIT, ProgressReader
from lumper.build.engines.buildkit.proto.control_pb2 import StatusResponse, Vertex, VertexLog, VertexWarning
from lumper.model.builds.build import Output, Progress, Step, StepState
from parts.line.records import printed


def collect(responses: Iterable[StatusResponse]) -> list[Progress]:
    """All that a whole stream of status messages tells."""
    told: list[Progress] = []
    reader = ProgressReader(told.append)
    for response in responses:
        reader.receive(response)
    reader.finish()
    return told


def moment(at: float | None) -> Timestamp | None:
    return None if at is None else Timestamp(seconds=int(at), nanos=round(at % 1 * 1e9))


def vertex(
    name: str, started: float | None = None, completed: float | None = None, *, cached: bool = False, error: str = ""
) -> Vertex:
    return Vertex(
        digest=f"sha256:{name}",
        name=name,
        started=moment(started),
        completed=moment(completed),
        cached=cached,
        error=error,
    )


def log(name: str, msg: bytes, at: float = 1.5, stream: int = 1) -> VertexLog:
    return VertexLog(vertex=f"sha256:{name}", timestamp=moment(at), stream=stream, msg=msg)


def lines(*logs: VertexLog) -> list[str]:
    told = collect([StatusResponse(vertexes=[vertex("run", 1)]), *(StatusResponse(logs=[entry]) for entry in logs)])
    return printed(told)


def test_a_step_is_told_when_it_starts_and_when_it_ends() -> None:
    told = collect(
        [
            StatusResponse(vertexes=[vertex("run")]),
            StatusResponse(vertexes=[vertex("run", 1.25)]),
            StatusResponse(logs=[log("run", b"hello\n", 1.5)]),
            StatusResponse(vertexes=[vertex("run", 1.25, 2.75)]),
        ]
    )

    assert told == [
        Step(1, "run", StepState.RUNNING, 1.25),
        Output(1, 1, 1.5, "hello"),
        Step(1, "run", StepState.DONE, 2.75),
    ]


def test_lines_come_before_the_end_of_their_step_although_the_engine_cuts_the_message_and_tells_it_first() -> None:
    text = b"".join(b"line %d\n" % n for n in range(200_000))
    pieces = [text[at : at + 32_000] for at in range(0, len(text), 32_000)]
    logs = [log("run", piece, 1.5 + n / 1000) for n, piece in enumerate(pieces)]
    ended = [vertex("run", 1, 2.75), vertex("next", 2.8)]
    told = collect(
        [
            StatusResponse(vertexes=[vertex("run", 1)]),
            StatusResponse(vertexes=ended, logs=logs[:33]),
            *(StatusResponse(logs=[entry]) for entry in logs[33:]),
            StatusResponse(vertexes=[vertex("next", 2.8, 2.9)]),
        ]
    )

    assert printed(told) == text.decode().splitlines()
    assert told[-3:] == [
        Step(1, "run", StepState.DONE, 2.75),
        Step(2, "next", StepState.RUNNING, 2.8),
        Step(2, "next", StepState.DONE, 2.9),
    ]


def test_a_cut_message_of_which_a_part_was_told_before_still_ends_no_step_too_early() -> None:
    told: list[Progress] = []
    reader = ProgressReader(told.append)
    reader.receive(StatusResponse(vertexes=[vertex("run", 1, 2)], logs=[log("run", b"half a ", 1.5)]), whole=False)
    reader.receive(StatusResponse(), whole=False)
    reader.receive(StatusResponse(logs=[log("run", b"line\n", 1.6)]))
    reader.finish()
    assert printed(told) == ["half a line"]
    assert told[-1] == Step(1, "run", StepState.DONE, 2)


def test_the_end_of_a_step_is_told_although_a_cut_message_does_not_go_on() -> None:
    told: list[Progress] = []
    reader = ProgressReader(told.append)
    reader.receive(
        StatusResponse(vertexes=[vertex("run", 1, 2, error="exit code: 1")], logs=[log("run", bytes(1 << 21))])
    )
    assert not reader.failures
    reader.settle()
    assert [step.error for step in reader.failures] == ["exit code: 1"]


def test_numbers_follow_the_start_of_steps_not_their_announcement() -> None:
    told = collect(
        [
            StatusResponse(vertexes=[vertex("never"), vertex("second"), vertex("first")]),
            StatusResponse(vertexes=[vertex("first", 1, 2)]),
            StatusResponse(vertexes=[vertex("second", 3, 4)]),
        ]
    )

    assert [(step.number, step.name) for step in told] == [(1, "first")] * 2 + [(2, "second")] * 2  # type: ignore[union-attr]


def test_one_message_is_told_in_the_order_of_time() -> None:
    told = collect(
        [
            StatusResponse(
                vertexes=[vertex("later", 3), vertex("run", 1, 2), vertex("copy", 0.5, 0.5, cached=True)],
                logs=[log("run", b"half", 1.5)],
            )
        ]
    )

    assert told[:5] == [
        Step(1, "copy", StepState.CACHED, 0.5),
        Step(2, "run", StepState.RUNNING, 1),
        Output(2, 1, 1.5, "half"),
        Step(2, "run", StepState.DONE, 2),
        Step(3, "later", StepState.RUNNING, 3),
    ]


def test_a_cached_step_is_never_said_to_run() -> None:
    assert collect([StatusResponse(vertexes=[vertex("run", 1, 2, cached=True)])]) == [
        Step(1, "run", StepState.CACHED, 2)
    ]


def test_a_cached_step_is_told_in_the_time_of_this_build() -> None:
    told = collect(
        [
            StatusResponse(vertexes=[vertex("load", 1000, 1001)]),
            StatusResponse(vertexes=[vertex("run", 3, 4, cached=True)]),
        ]
    )

    assert told[-1] == Step(2, "run", StepState.CACHED, 1001)


def test_a_failure_keeps_the_words_of_the_engine() -> None:
    told: list[Progress] = []
    reader = ProgressReader(told.append)

    reader.receive(StatusResponse(vertexes=[vertex("run", 1, 2, error="exit code: 2")]))

    assert told[-1] == Step(1, "run", StepState.FAILED, 2, "exit code: 2")
    assert reader.failures == [told[-1]]


@pytest.mark.parametrize(
    "error",
    ["context canceled", "exit code: 137: context canceled: context canceled", "rpc error: desc = context cancelled"],
)
def test_a_cancelled_step_is_no_failure(error: str) -> None:
    assert collect([StatusResponse(vertexes=[vertex("run", 1, 2, error=error)])])[-1] == Step(
        1, "run", StepState.CANCELLED, 2
    )


def test_a_command_that_speaks_of_cancelling_can_fail() -> None:
    error = "executor failed running [/bin/sh -c echo context canceled; exit 1]: exit code: 1"

    told = collect([StatusResponse(vertexes=[vertex("run", 1, 2, error=error)])])

    assert told[-1] == Step(1, "run", StepState.FAILED, 2, error)


def test_a_step_whose_end_never_comes_is_cancelled() -> None:
    told = collect([StatusResponse(vertexes=[vertex("run", 1)], logs=[log("run", b"begun", 1.5)])])

    assert told[1:] == [Output(1, 1, 1.5, "begun"), Step(1, "run", StepState.CANCELLED, 1.5)]


def test_lines_end_at_line_feeds_only() -> None:
    assert lines(log("run", b"a\r\nb\rc\n\nd\x0be\x85\xe2\x80\xa8f\n")) == ["a", "b\rc", "", "d\x0be�\u2028f"]


def test_a_line_that_comes_in_pieces_is_one_line() -> None:
    assert lines(log("run", b"gr\xc3"), log("run", b"\xbc\xc3\x9fe\r"), log("run", b"\nnext")) == ["grüße", "next"]


def test_the_two_streams_of_a_step_do_not_mix() -> None:
    told = collect(
        [
            StatusResponse(vertexes=[vertex("run", 1)]),
            StatusResponse(logs=[log("run", b"out"), log("run", b"err", stream=2), log("run", b"put\n")]),
            StatusResponse(logs=[log("run", b"or\n", stream=2)]),
        ]
    )

    assert [(r.stream, r.text) for r in told if isinstance(r, Output)] == [(1, "output"), (2, "error")]


def test_bytes_that_are_not_utf8_are_replaced() -> None:
    assert lines(log("run", b"\xff\xfe\0 ok\n")) == ["��\0 ok"]


def test_output_of_an_unknown_step_is_not_lost() -> None:
    told = collect([StatusResponse(logs=[log("ghost", b"boo\n")])])

    assert Output(1, 1, 1.5, "boo") in told


def test_behind_the_notice_of_a_clipped_log_stands_what_can_be_done() -> None:
    notice = b"[output clipped, log limit 2MiB reached]\n"

    assert lines(log("run", b"half a li\n" + notice)) == ["half a li", notice.decode().strip(), CLIPPED]
    assert lines(log("run", b"[output clipped, log reached]\n")) == ["[output clipped, log reached]"]


def test_a_line_without_end_is_told_in_pieces_that_add_up() -> None:
    text = "ü" * LINE_LIMIT

    pieces = lines(*(log("run", text.encode()[start : start + 30001]) for start in range(0, 2 * LINE_LIMIT, 30001)))

    assert "".join(pieces) == text
    assert max(len(piece.encode()) for piece in pieces) <= LINE_LIMIT


def test_warnings_are_told_with_their_page() -> None:
    warning = VertexWarning(vertex="sha256:run", short=b"MaintainerDeprecated", url="https://docs.example/rule")

    told = collect([StatusResponse(vertexes=[vertex("run", 1)], warnings=[warning])])

    assert told[1] == Output(1, 2, 1, "MaintainerDeprecated (https://docs.example/rule)")


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=6))
def test_cutting_the_output_anywhere_gives_the_same_lines(data: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    pieces = [data[start:end] for start, end in pairwise(edges)]

    assert lines(*(log("run", piece) for piece in pieces)) == lines(log("run", data))
