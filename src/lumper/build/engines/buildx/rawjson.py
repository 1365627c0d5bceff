"""What `buildx build --progress=rawjson` says, read to BuildKit's own messages. Pure.

Old versions write each object over many lines, new ones in one; words for people, such as an error at the end, stand
between them. Source: moby/buildkit, client/graph.go; docker/buildx, build reference, "--progress".
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from lumper.build.engines.buildkit.proto.control_pb2 import StatusResponse, Vertex, VertexLog, VertexWarning

_MOST_HELD = 16 << 20  # bytes of one object; a log comes in pieces of at most 64 KiB or so
_MOST_WORDS = 64 << 10
_ERROR = re.compile(r"^ERROR: (?:failed to build: )?(?P<text>.*)", re.MULTILINE | re.DOTALL)
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)")


class RawJsonReader:
    """Follows one build. `receive` is given each message."""

    def __init__(self, receive: Callable[[StatusResponse], None]) -> None:
        self._receive = receive
        self._partial = b""
        self._object: list[bytes] = []
        self._words: list[str] = []

    def hear(self, own: bool, stream: int, data: bytes) -> None:
        """Something was said."""
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            self._line(line)

    @property
    def error(self) -> str:
        """Why the build failed, in buildx's words; "" if it said nothing of the kind."""
        words = "\n".join(self._words)
        found = _ERROR.search(words)
        return found["text"].strip() if found else words.strip()

    def finish(self) -> None:
        """Nothing more is said."""
        if self._partial:
            self._line(self._partial)
            self._partial = b""

    def _line(self, line: bytes) -> None:
        if not self._object and not line.startswith(b"{"):
            if sum(map(len, self._words)) < _MOST_WORDS:
                self._words.append(line.decode("utf-8", "replace"))
            return
        self._object.append(line)
        if line.endswith(b"}") and not line.startswith(b" "):
            message, self._object = b"\n".join(self._object), []
            self._message(message)
        elif sum(map(len, self._object)) > _MOST_HELD:
            self._object = []

    def _message(self, text: bytes) -> None:
        try:
            found = json.loads(text)
        except ValueError:
            self._words.append(text.decode("utf-8", "replace")[:_MOST_WORDS])
            return
        self._receive(
            StatusResponse(
                vertexes=[_vertex(one) for one in _list(found, "vertexes")],
                logs=[_log(one) for one in _list(found, "logs")],
                warnings=[_warning(one) for one in _list(found, "warnings")],
            )
        )


def _list(found: dict[str, Any], key: str) -> Iterable[dict[str, Any]]:
    return (one for one in found.get(key) or () if isinstance(one, dict))


def _vertex(one: dict[str, Any]) -> Vertex:
    return Vertex(
        digest=str(one.get("digest", "")),
        name=str(one.get("name", "")),
        cached=bool(one.get("cached")),
        error=str(one.get("error", "")),
        started=_timestamp(one.get("started")),
        completed=_timestamp(one.get("completed")),
    )


def _log(one: dict[str, Any]) -> VertexLog:
    return VertexLog(
        vertex=str(one.get("vertex", "")),
        stream=int(one.get("stream") or 1),
        msg=base64.b64decode(str(one.get("data") or "")),
        timestamp=_timestamp(one.get("timestamp")),
    )


def _warning(one: dict[str, Any]) -> VertexWarning:
    short = base64.b64decode(str(one.get("short") or ""))
    return VertexWarning(vertex=str(one.get("vertex", "")), short=short, url=str(one.get("url", "")))


def _timestamp(text: object) -> Timestamp | None:
    """RFC 3339 with up to nine digits of a second, more than `datetime` keeps."""
    if not isinstance(text, str) or not _TIME.fullmatch(text):
        return None
    made = Timestamp()
    made.FromJsonString(text)
    return made
