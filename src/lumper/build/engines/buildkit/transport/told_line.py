"""The line of the Dockerfile that BuildKit itself tells with an error, beside the text.

Source: moby/buildkit, util/grpcerrors (details are JSON) and solver/errdefs, `Source`, since 0.8; it is what
`docker build` draws an arrow at. Where the error has passed through several, the outermost one is told first.
"""

from __future__ import annotations

import json
from typing import Any

from google.protobuf.message import DecodeError
from grpclib.const import Status
from grpclib.encoding.base import StatusDetailsCodecBase

from lumper.build.engines.buildkit.proto.rpc_status_pb2 import Status as Details

_SOURCE = "errdefs.Source+json"  # after the path of BuildKit's module


class LineCodec(StatusDetailsCodecBase):
    """Makes of an error's details the line that they tell, 0 if none: `GRPCError.details`."""

    def encode(self, status: Status, message: str | None, details: Any) -> bytes:
        raise NotImplementedError("only the engine tells lines")

    def decode(self, status: Status, message: str | None, data: bytes) -> int:
        try:
            details = Details.FromString(data).details
        except DecodeError:
            return 0
        lines = (_line(each.value) for each in details if each.type_url.endswith(_SOURCE))
        return next((line for line in lines if line), 0)


def _line(source: bytes) -> int:
    """Where the instruction begins."""
    try:
        line = json.loads(source)["ranges"][0]["start"]["line"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return 0
    return line if isinstance(line, int) and line > 0 else 0
