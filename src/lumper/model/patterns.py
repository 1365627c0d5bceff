"""Patterns for the names of tags, branches and files: globs, ranges of versions, and what they leave out. Pure.

v*            `*` and `?` stand for anything but a slash, `**` for anything, [abc] for one of these
release/**    everything below
>=1.2 <2      versions from 1.2.0 up to, without, 2.0.0; ^1.2 and ~1.2.3 as in node-semver's README, "Ranges"
!*-rc.*       not these, whatever the patterns before it say

Globs for repositories and image tags are in model/globs.py.
"""

from __future__ import annotations

import fnmatch
import functools
import re
from collections.abc import Iterable, Sequence

_RANGE_SIGNS = ("<", ">", "=", "^", "~")
_COMPARATOR = re.compile(
    r"(?P<sign>>=|<=|>|<|=|\^|~)?v?(?P<parts>\d{1,9}(?:\.(?:\d{1,9}|[xX*])){0,2})(?P<pre>-[0-9A-Za-z.-]+)?"
)
_VERSION = re.compile(r"v?(\d{1,9})\.(\d{1,9})\.(\d{1,9})(-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?")

Version = tuple[tuple[int, int, int], tuple[tuple[int, int, str], ...]]
"""Numbers, and a key by which pre-releases of them sort, before the release itself: semver 2.0.0, §11."""

_RELEASE: tuple[tuple[int, int, str], ...] = ((2, 0, ""),)


def matches(patterns: Sequence[str], name: str) -> bool:
    """Whether the name is meant: the last pattern that fits it decides. Only `!` patterns mean all but these.

    >>> matches(["*", "!*-rc.*"], "v1.2.0-rc.1"), matches([">=1.2 <2"], "v1.9.0"), matches(["!wip/**"], "main")
    (False, True, True)
    """
    meant = bool(patterns) and all(pattern.startswith("!") for pattern in patterns)
    for pattern in patterns:
        bare = pattern.removeprefix("!")
        if _fits(bare, name):
            meant = not pattern.startswith("!")
    return meant


def any_matches(patterns: Sequence[str], names: Iterable[str]) -> bool:
    """Whether one of the names is meant."""
    return any(matches(patterns, name) for name in names)


def pattern_problem(pattern: str) -> str:
    """What is wrong with a pattern, or ""."""
    bare = pattern.removeprefix("!")
    if not bare or not bare.isprintable() or len(bare) > 200:
        return "a pattern has 1 to 200 printable characters"
    if bare.startswith(_RANGE_SIGNS) and _comparators(bare) is None:
        return f"{bare!r} is not a range of versions; write >=1.2 <2, ^1.2 or ~1.2.3"
    if any("[" in re.sub(r"\[!?\]?[^\]]*\]", "", part) for part in bare.split("/")):
        return f"{bare!r} has a `[` without its `]`"
    return ""


def _fits(pattern: str, name: str) -> bool:
    if not pattern.startswith(_RANGE_SIGNS):
        return _glob(pattern, name)
    ranges, version = _comparators(pattern), version_of(name)
    return bool(ranges) and version is not None and any(_within(one, version) for one in ranges or ())


def _glob(pattern: str, name: str) -> bool:
    """Whether the glob fits, part by part between slashes, in time that grows with both lengths only.

    `fnmatch` alone lets `*` cross a slash, and one expression for all of it would try every way to share out the name.
    """
    parts = pattern.split("/")
    at = _skipping(parts, {0})
    for part in name.split("/"):
        stay = {index for index in at if index < len(parts) and parts[index] == "**"}
        step = {i + 1 for i in at - stay if i < len(parts) and fnmatch.fnmatchcase(part, parts[i])}
        ended = {len(parts)} if len(parts) - 1 in stay else set()
        at = _skipping(parts, stay | step | ended)
    return len(parts) in at


def _skipping(parts: Sequence[str], at: set[int]) -> set[int]:
    """The places in the pattern that are reached when a `**` that has more behind it stands for nothing."""
    for index in sorted(at):
        while index < len(parts) - 1 and parts[index] == "**":
            index += 1
            at.add(index)
    return at


def version_of(name: str) -> Version | None:
    """The semantic version in a name such as `v1.2.3-rc.1`, to be compared; None if it is none."""
    match = _VERSION.fullmatch(name)
    return ((int(match[1]), int(match[2]), int(match[3])), _pre(match[4] or "")) if match else None


def _pre(text: str) -> tuple[tuple[int, int, str], ...]:
    if not text:
        return _RELEASE
    return tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in text[1:].split("."))


Range = tuple[tuple[Version, Version | None, bool], ...]
"""Comparators that must all hold: from, up to without (None: no end), and whether it names a pre-release."""


@functools.lru_cache(maxsize=256)
def _comparators(text: str) -> tuple[Range, ...] | None:
    """The alternatives of a range, or None if it is none."""
    found: list[Range] = []
    for alternative in text.split("||"):
        parts = [_COMPARATOR.fullmatch(word) for word in re.sub(r"([<>=^~]+)\s+", r"\1", alternative).split()]
        if not parts or None in parts:
            return None
        found.append(tuple(_comparator(part) for part in parts if part))
    return tuple(found)


def _comparator(match: re.Match[str]) -> tuple[Version, Version | None, bool]:
    sign, pre = match["sign"] or "=", match["pre"] or ""
    given = [int(part) for part in match["parts"].split(".") if part.isdigit()]
    low = (*given, 0, 0)[:3]
    exact: Version = ((low[0], low[1], low[2]), _pre(pre))
    after = _floor(_next(given, len(given)))
    match sign:
        case ">=":
            return exact, None, bool(pre)
        case ">":
            return (after if len(given) < 3 else _just_after(exact)), None, bool(pre)
        case "<":
            return _floor((0, 0, 0)), exact if pre else _floor(exact[0]), bool(pre)
        case "<=":
            return _floor((0, 0, 0)), after if len(given) < 3 else _just_after(exact), bool(pre)
        case "^":
            kept = next((index for index, part in enumerate(given) if part), len(given) - 1) + 1
            return exact, _floor(_next(given, kept)), bool(pre)
        case "~":
            return exact, _floor(_next(given, min(2, len(given)))), bool(pre)
        case _:
            return exact, after if len(given) < 3 else _just_after(exact), bool(pre)


def _next(given: Sequence[int], kept: int) -> tuple[int, int, int]:
    """The numbers after all that begin with the first `kept` ones."""
    grown = [*given[: kept - 1], given[kept - 1] + 1, 0, 0]
    return grown[0], grown[1], grown[2]


def _floor(numbers: tuple[int, int, int]) -> Version:
    """What comes before every pre-release of these numbers."""
    return numbers, ()


def _just_after(version: Version) -> Version:
    return version[0], (*version[1], (-1, 0, ""))


def _within(comparators: Range, version: Version) -> bool:
    """Whether all hold; a pre-release counts only where a comparator names one of the same numbers."""
    if not all(low <= version and (high is None or version < high) for low, high, _ in comparators):
        return False
    if version[1] == _RELEASE:
        return True
    named = [edge[0] for low, high, pre in comparators if pre for edge in (low, high) if edge]
    return version[0] in named
