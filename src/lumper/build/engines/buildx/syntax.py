"""A Dockerfile that asks for no syntax image: the engine is to read it by itself. Pure.

Source: docker/docs, Dockerfile reference, "Parser directives": they stand before anything else, and end with the first
line that is none.
"""

from __future__ import annotations

import re

_DIRECTIVE = re.compile(rb"[ \t\f\v]*#[ \t\f\v]*([a-zA-Z][a-zA-Z0-9]*)[ \t\f\v]*=.*")


def without_syntax(dockerfile: bytes) -> bytes:
    """The same with its `# syntax=` line taken out, and as many lines."""
    mark = b"\xef\xbb\xbf" if dockerfile.startswith(b"\xef\xbb\xbf") else b""
    lines = dockerfile.removeprefix(mark).split(b"\n")
    first = 1 if lines[0].startswith(b"#!") else 0
    end = first
    while end < len(lines) and _DIRECTIVE.fullmatch(lines[end].rstrip(b"\r")):
        end += 1
    kept = [line for line in lines[first:end] if not _asks(line)]
    blank = [b""] * (end - first - len(kept))
    return mark + b"\n".join([*lines[:first], *kept, *blank, *lines[end:]])


def _asks(line: bytes) -> bool:
    found = _DIRECTIVE.fullmatch(line.rstrip(b"\r"))
    return found is not None and found[1].lower() == b"syntax"
