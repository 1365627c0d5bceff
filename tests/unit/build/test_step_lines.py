"""In which line of a Dockerfile a step stands."""

from __future__ import annotations

import pytest

from lumper.build.step_lines import line_of

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
