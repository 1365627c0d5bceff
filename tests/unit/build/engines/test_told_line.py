"""The line that BuildKit tells with an error, out of the bytes of the trailer."""

from __future__ import annotations

import json

import pytest
from google.protobuf.any_pb2 import Any
from grpclib.const import Status

from lumper.build.engines.buildkit.proto.rpc_status_pb2 import Status as Details
from lumper.build.engines.buildkit.transport.told_line import LineCodec

SOURCE = "github.com/moby/buildkit/errdefs.Source+json"
STACK = "github.com/moby/buildkit/stack.Stack+json"


def source(*lines: object) -> bytes:
    ranges = [{"start": {"line": line}, "end": {"line": line}} for line in lines]
    return json.dumps({"info": {"filename": "Dockerfile", "data": "RlJPTQ=="}, "ranges": ranges}).encode()


@pytest.mark.parametrize(
    ("details", "line"),
    [
        ([(STACK, b"{}"), (SOURCE, source(7, 8, 9)), (SOURCE, source(2))], 7),
        ([(SOURCE, source()), (SOURCE, source(2))], 2),
        ([(STACK, source(7))], 0),
        ([(SOURCE, b"no JSON"), (SOURCE, b"[]"), (SOURCE, b'{"ranges": [1]}'), (SOURCE, source("x", 1))], 0),
        ([(SOURCE, source(-3))], 0),
        ([], 0),
    ],
)
def test_the_first_line_of_the_outermost_source_is_told(details: list[tuple[str, bytes]], line: int) -> None:
    told = Details(code=2, message="no", details=[Any(type_url=url, value=value) for url, value in details])
    assert LineCodec().decode(Status.UNKNOWN, "no", told.SerializeToString()) == line


def test_what_is_no_message_tells_no_line() -> None:
    assert LineCodec().decode(Status.UNKNOWN, "no", b"\xff\xff\xff") == 0
