"""What templates of image tags may say, and the words where one cannot be meant. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from lumper.build.recipe.tag_times import parse_time, strftime_problem

PRIORITY = {
    "schedule": 1000,
    "semver": 900,
    "pep440": 900,
    "match": 800,
    "edge": 700,
    "ref": 600,
    "date": 300,
    "raw": 200,
    "sha": 100,
}
"""Kinds of templates and how important each is."""

FIELD = re.compile(r"\{\{\s*([^{}]*?)\s*\}\}")
LONGEST = 64
"""Characters of a tag that a pattern is tried on."""

_ALONE = {"schedule": "nightly", "sha": "short"}  # what may stand without a colon, and what it means then
_OF_TAGS = ("semver", "pep440", "match")
_VERSION_FIELDS = ("version", "major", "minor", "patch", "raw")
_REF_FIELDS = ("tag", "branch", "sha")
_GROUP = re.compile(r":(\d{1,2})$")
_SLASHES = re.compile(r"/(.+)/(i?)", re.DOTALL)
_REPEATS = 4  # of what may repeat in a pattern: the time that it takes is the length to this power
_CHOICES = 3  # of what may be left out: each doubles that time


def kind_of(text: str) -> str:
    """What stands before the first colon; a text without one is itself, as `raw:` has it.

    >>> kind_of("semver:{{version}}"), kind_of("sha"), kind_of("latest")
    ('semver', 'sha', 'raw')
    """
    kind, colon, _ = text.partition(":")
    return kind if colon or kind in PRIORITY else "raw"


def pattern_of(text: str) -> str:
    """What stands behind it.

    >>> pattern_of("semver:{{version}}"), pattern_of("sha"), pattern_of("latest")
    ('{{version}}', 'short', 'latest')
    """
    kind, colon, pattern = text.partition(":")
    return pattern if colon else _ALONE.get(kind, "" if kind in PRIORITY else text)


def split_pattern(pattern: str) -> tuple[str, int, int]:
    """The regular expression, the group that is meant, and the flags."""
    group = _GROUP.search(pattern)
    text, number = (pattern[: group.start()], int(group[1])) if group else (pattern, 0)
    slashes = _SLASHES.fullmatch(text)
    flags = re.ASCII | (re.IGNORECASE if slashes and slashes[2] else 0)
    return slashes[1] if slashes else text, number, flags


def template_problem(text: str) -> str:
    """What is wrong with the text of a template, or ""."""
    kind, pattern = kind_of(text), pattern_of(text)
    if kind not in PRIORITY or not text.isprintable() or len(text) > 200:
        return 'write a kind, a colon and more, such as "semver:{{version}}"; kinds are ' + ", ".join(sorted(PRIORITY))
    match kind:
        case "ref" if pattern not in ("tag", "branch"):
            return "write ref:tag or ref:branch"
        case "edge" if not pattern:
            return "write edge: and the name of a branch, such as edge:main"
        case "sha" if pattern not in ("short", "long") and not re.fullmatch(r"[4-9]|[1-5]\d|6[0-4]", pattern):
            return "write sha:short, sha:long, or how many digits, such as sha:12"
        case "semver" | "pep440":
            return fields_problem(pattern, _VERSION_FIELDS) or ("" if "{{" in pattern else "it names no {{version}}")
        case "match":
            return expression_problem(pattern)
        case "raw":
            return fields_problem(pattern) or ("" if pattern else "there is no text behind `raw:`")
        case "date" | "schedule":
            return fields_problem(pattern) if "{{" in pattern else strftime_problem(pattern)
    return ""


def fields_problem(text: str, known: Sequence[str] = _REF_FIELDS) -> str:
    """What is wrong with the `{{…}}` in a text, or ""."""
    for name in FIELD.findall(text):
        if known is _REF_FIELDS and (time := parse_time(name)):
            if time.problem:
                return time.problem
        elif name not in known:
            told = [f"{{{{{each}}}}}" for each in known]
            told += ["{{date 'YYYYMMDD'}}", "{{commit_date 'YYYYMMDD'}}"] if known is _REF_FIELDS else []
            return f"there is no {{{{{name}}}}}; known are " + ", ".join(told)
    return "`{{` and `}}` do not fit together" if re.search(r"\{\{|\}\}", FIELD.sub("", text)) else ""


def version_problem(text: str, value: str, match: str) -> str:
    """What is wrong with `value` and `match` beside a template, or ""."""
    kind = kind_of(text)
    if value and kind not in _OF_TAGS:
        return "`value` is for semver, pep440 and match: it stands for the git tag"
    if match and kind not in _OF_TAGS[:2]:
        return "`match` is for semver and pep440: it picks the version out of the git tag"
    return fields_problem(value) or (expression_problem(match) if match else "")


def expression_problem(pattern: str) -> str:
    """Only what ends soon on any ref: nothing that repeats within what repeats, and little that repeats at all."""
    expression, group, flags = split_pattern(pattern)
    bare = re.sub(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]", "x", expression)
    if re.search(r"\)\s*[*+{]|\(\?(?!:)", bare) or re.search(r"\\[1-9]", expression):
        return "in a pattern no group repeats, and there is neither look-around nor a reference to a group"
    if len(re.findall(r"[*+{]", bare)) > _REPEATS or len(re.findall(r"(?<!\()[?|]", bare)) > _CHOICES:
        return f"a pattern has at most {_REPEATS} of `*`, `+` and `{{…}}`, and at most {_CHOICES} of `?` and `|`"
    try:
        groups = re.compile(expression, flags).groups
    except (re.error, OverflowError) as exc:
        return f"{expression!r} is not a regular expression: {exc}"
    if not expression or group > groups:
        return f"the pattern has no group {group}" if expression else "there is no pattern behind `match:`"
    return ""
