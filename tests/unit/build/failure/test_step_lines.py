"""In which line of a Dockerfile a step stands."""

from __future__ import annotations

import pytest

from lumper.build.failure.step_lines import instruction_at, instruction_of, keyword_of

_ONE = b"""# syntax=docker/dockerfile:1
FROM debian:12

ENV A=b
RUN make && \\
    # so it is
    make install
COPY ${A} /x
WORKDIR /x
RUN <<EOF
RUN true
FROM nothing
EOF
RUN make test
"""

_TWO = b"""ARG BASE=alpine
FROM $BASE AS Tools
RUN make
RUN make
FROM tools
RUN make
FROM scratch AS last
COPY --from=tools /a /a
COPY --from=1 /b /b
"""


def line_of(step: str, dockerfile: bytes) -> int:
    """The line of the step's instruction, 0 if there is none."""
    found = instruction_of(step, dockerfile)
    return found.line if found else 0


@pytest.mark.parametrize(
    ("step", "line"),
    [
        ("[1/6] FROM docker.io/library/debian:12@sha256:abc", 2),
        ("[2/6] RUN make &&     make install", 5),
        ("[3/6] COPY b /x", 8),  # the engine tells what the variable holds
        ("[4/6] WORKDIR /x", 9),
        ("[5/6] RUN <<EOF (RUN true...)", 10),
        ("[6/6] RUN make test", 14),
        ("[linux/arm64 6/6] RUN make test", 14),
        ("[7/7] RUN make test", 14),  # buildah counts ENV too
        ("[9/9] RUN something that a trigger of the base image added", 0),
        ("[ 3/12] COPY b /x", 0),
        ("[internal] load metadata for docker.io/library/debian:12", 2),
        ("[internal] load metadata for docker.io/library/other:12", 0),
        ("[internal] load build definition", 0),
        ("exporting to image", 0),
        ("", 0),
    ],
)
def test_of_one_stage(step: str, line: int) -> None:
    assert line_of(step, _ONE) == line


@pytest.mark.parametrize(
    ("step", "line"),
    [
        ("[tools 1/3] FROM docker.io/library/alpine", 2),
        ("[tools 2/3] RUN make", 3),
        ("[tools 3/3] RUN make", 4),
        ("[linux/amd64 tools 3/3] RUN make", 4),
        ("[stage-1 1/1] RUN make", 6),
        ("[last 1/2] COPY --from=tools /a /a", 8),
        ("[last 2/2] COPY --from=1 /b /b", 9),
        ("[3/3] RUN make", 0),  # of which stage?
        ("[other 3/3] RUN make", 0),
    ],
)
def test_of_several_stages(step: str, line: int) -> None:
    assert line_of(step, _TWO) == line


def test_of_stages_of_one_name_none_is_meant_for_certain() -> None:
    assert line_of("[a 2/2] RUN x", b"FROM x AS a\nRUN x\nFROM y AS a\nRUN x\n") == 0


def test_a_here_document_without_an_end_takes_nothing_for_certain() -> None:
    assert line_of("[2/3] RUN b", b"FROM x\nRUN <<E\nRUN b\n") == 0


_FETCHING = b"""ARG TAG=1
FROM ${BASE:-no.invalid/y}:${TAG}
ADD https://example.org/a.tar \\
    https://example.org/b-${TAG}.tar /x/
ADD --keep-git-dir=true https://example.org/r.git#v1 /r
FROM scratch
COPY --from=no.invalid/tool:2 /a /b
COPY --from=no.invalid/pinned@sha256:abc /a /b
RUN --mount=type=bind,from=no.invalid/src,target=/s true
"""


@pytest.mark.parametrize(
    ("step", "line"),
    [
        ("https://example.org/a.tar", 3),
        ("[stage-0 2/3] https://example.org/b-1.tar", 3),
        ("https://example.org/c.tar", 0),
        ("[internal] load metadata for no.invalid/tool:2", 7),
        ("[internal] load metadata for no.invalid/pinned@sha256:abc", 8),
        ("FROM no.invalid/pinned@sha256:abc", 8),
        ("[internal] load metadata for no.invalid/src:latest", 9),
        ("[internal] load metadata for no.invalid/y:1", 2),
    ],
)
def test_of_what_is_fetched(step: str, line: int) -> None:
    assert line_of(step, _FETCHING) == line


def test_an_image_whose_name_is_one_variable_is_told_where_only_one_line_may_mean_it() -> None:
    step = "[internal] load metadata for docker.io/library/a:1"
    assert line_of(step, b"ARG A=a:1\nFROM scratch\nFROM $A\n") == 3
    assert line_of(step, b"ARG A=a:1\nARG B=b:1\nFROM $B\nFROM $A\n") == 0


@pytest.mark.parametrize(
    ("line", "keyword", "found"),
    [(5, "RUN", 5), (7, "", 5), (7, "run", 5), (7, "COPY", 0), (0, "", 0), (99, "", 14)],
)
def test_the_instruction_that_a_line_belongs_to(line: int, keyword: str, found: int) -> None:
    instruction = instruction_at(line, _ONE, keyword)
    assert (instruction.line if instruction else 0) == found


def test_the_keyword_of_a_step() -> None:
    assert keyword_of("[a 2/2] RUN make") == "RUN"
    assert keyword_of("[internal] load metadata for x") == ""
