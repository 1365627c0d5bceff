"""What Lumper itself reads in a Dockerfile: whether it has a stage at all, and what its stages are called. Pure.

Source: docs.docker.com, "Dockerfile reference" (parser directives, escape, comments), and moby/buildkit,
frontend/dockerfile/parser, where the page is silent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_ESCAPE = re.compile(rb"#\s*escape\s*=\s*(.)", re.IGNORECASE)
_DIRECTIVE = re.compile(rb"#\s*[A-Za-z][A-Za-z0-9]*\s*=")
_STAGE = re.compile(rb"FROM\s+(?:--\S+\s+)*\S+\s+AS\s+(\S+)", re.IGNORECASE)


def has_stage(text: bytes) -> bool:
    """Whether there is a FROM where the first instruction after ARG has to be one, or something else to complain about.

    A Docker Engine 20.10 dies of a Dockerfile that has nothing but ARG, with all builds and containers that it runs.
    So this is decided for either escape character: whoever means to harm can choose which one hides the FROM.
    """
    return all(_first_but_args(text, escape) for escape in (b"\\", b"`"))


def stage_names(text: bytes) -> list[str]:
    """The names that stages have, in order."""
    matches = (_STAGE.match(line) for line in _instructions(text, _escape(text)))
    return [match[1].decode("utf-8", "replace") for match in matches if match]


def _first_but_args(text: bytes, escape: bytes) -> bytes:
    for instruction in _instructions(text, escape):
        keyword = instruction.split(None, 1)[0].upper()
        if keyword != b"ARG":
            return keyword
    return b""


def _escape(text: bytes) -> bytes:
    for line in text.removeprefix(b"\xef\xbb\xbf").split(b"\n"):
        if match := _ESCAPE.match(line):
            return match[1]
        if not _DIRECTIVE.match(line):
            break
    return b"\\"


def _instructions(text: bytes, escape: bytes) -> Iterator[bytes]:
    """Instructions with their continued lines joined; comments and blank lines are left out, also within one."""
    joined = b""
    for raw in text.removeprefix(b"\xef\xbb\xbf").split(b"\n"):
        line = raw.removesuffix(b"\r")
        start = line.lstrip()
        if not start or start.startswith(b"#"):
            continue
        bare = line.rstrip(b" \t")
        if bare.endswith(escape):
            joined += bare.removesuffix(escape)
            continue
        joined += line
        if joined.strip():
            yield joined.strip()
        joined = b""
    if joined.strip():
        yield joined.strip()
