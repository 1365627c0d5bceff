"""What `.gitattributes` of the folders around a context say of the files in it. Pure.

`git archive` of a folder looks at the attributes within it only, where a checkout has those of all folders around it,
too: line ends, encodings and idents of the files would differ.
Source: gitattributes(5); gitignore(5), "PATTERN FORMAT".
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Sequence

ATTRIBUTES = ".gitattributes"
ATTRIBUTES_LIMIT = 1 << 20  # bytes of one file
_MOST_LINES = 10_000


def folders_around(context: str) -> list[str]:
    """The folders that a context lies in, the outermost one first; "" is the root.

    >>> folders_around("a/b"), folders_around("")
    (['', 'a'], [])
    """
    parts = [part for part in context.split("/") if part]
    return ["/".join(parts[:count]) for count in range(len(parts))]


def inherited(files: Iterable[tuple[str, bytes]], context: str) -> bytes:
    """One attributes file for the context, out of those of the folders around it.

    `files` are pairs of a folder and what its file says, the outermost folder first: later lines win.
    """
    lines: list[bytes] = []
    for folder, content in files:
        below = context.removeprefix(folder).strip("/").split("/")
        for line in content.removeprefix(b"\xef\xbb\xbf").split(b"\n")[:_MOST_LINES]:
            lines += _within(line.strip().decode("utf-8", "surrogateescape"), below)
    return b"".join(line + b"\n" for line in lines)


def _within(line: str, below: Sequence[str]) -> list[bytes]:
    """The line for a folder that lies `below` where it was written: none, or one for each way that its pattern goes."""
    pattern, rest = _split(line)
    if not pattern or not rest or pattern.startswith("#"):
        return []
    if pattern.startswith("[attr]") or "/" not in pattern:
        found = [pattern]
    else:
        parts = pattern.removeprefix("/").split("/")
        found = [left if "/" in left else f"/{left}" for left in dict.fromkeys(_left(parts, below)) if left]
    return [f"{_quoted(one)} {rest}".encode("utf-8", "surrogateescape") for one in found]


def _left(parts: Sequence[str], below: Sequence[str]) -> list[str]:
    """What is left of a pattern when it has gone down to the folder."""
    states = {0}
    for name in below:
        states = {
            after
            for state in _skipping(parts, states)
            if state < len(parts)
            for after in ([state] if parts[state] == "**" else [state + 1] * fnmatch.fnmatchcase(name, parts[state]))
        }
    return ["/".join(parts[state:]) for state in sorted(states) if state < len(parts)]


def _skipping(parts: Sequence[str], states: set[int]) -> set[int]:
    """With `**` as no folder at all."""
    found = set(states)
    for state in range(len(parts)):
        if state in found and parts[state] == "**":
            found.add(state + 1)
    return found


def _split(line: str) -> tuple[str, str]:
    if not line.startswith('"'):
        pattern, _, rest = line.replace("\t", " ").partition(" ")
        return pattern, rest.strip()
    end = line.find('"', 1)
    return (line[1:end], line[end + 1 :].strip()) if end > 0 and "\\" not in line[:end] else ("", "")


def _quoted(pattern: str) -> str:
    return f'"{pattern}"' if " " in pattern else pattern
