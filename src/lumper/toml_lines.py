"""Find the line of a key in a TOML text: tomllib tells values, not places."""

from __future__ import annotations

import re
from collections.abc import Sequence

_KEY = r"""(?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')"""
_DOTTED = rf"{_KEY}(?:\s*\.\s*{_KEY})*"
_TABLE = re.compile(rf"^\s*\[\[?\s*({_DOTTED})\s*\]\]?\s*(?:#.*)?$")
_PAIR = re.compile(rf"^\s*({_DOTTED})\s*=")


def locate(text: str, keys: Sequence[str]) -> int:
    """The line, from 1, where the value at `keys` stands, or the nearest table or key around it; 0 for an empty text.

    A reading of the usual ways to write TOML, not a parser: keys inside of multi-line strings may mislead it, to a
    wrong line and never to an error.
    """
    best, best_depth = (1 if text else 0), 0
    table: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        if match := _TABLE.match(line):
            table = found = _split(match[1])
        elif match := _PAIR.match(line):
            found = table + _split(match[1])
        else:
            continue
        depth = _common(found, keys)
        if depth > best_depth and depth == min(len(found), len(keys)):
            best, best_depth = number, depth
    return best


def _split(dotted: str) -> list[str]:
    return [part.strip().strip("\"'") for part in re.findall(_KEY, dotted)]


def _common(found: Sequence[str], keys: Sequence[str]) -> int:
    depth = 0
    for one, other in zip(found, keys, strict=False):
        if one != other:
            break
        depth += 1
    return depth
