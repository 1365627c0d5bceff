"""Templates of image tags: what a commit and its ref make of them. Pure.

The semantics are those of docker/metadata-action, README, "tags input" and "flavor input": what names a template gives
for a ref, which of them makes `latest` follow, and how prefixes and suffixes are put. docs/reference/lumper-toml.md has
the mapping from its notation.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from packaging.version import InvalidVersion, Version

from lumper.model.image import LATEST, PRIVATE_PREFIX, is_tag
from lumper.model.patterns import matches
from lumper.model.trigger import BRANCH_PREFIX, TAG_PREFIX

_PRIORITY = {
    "schedule": 1000,
    "semver": 900,
    "pep440": 900,
    "match": 800,
    "ref": 600,
    "date": 300,
    "raw": 200,
    "sha": 100,
}
_FIELD = re.compile(r"\{\{\s*([^{}]*?)\s*\}\}")
_VERSION_FIELDS = ("version", "major", "minor", "patch", "raw")
_REF_FIELDS = ("tag", "branch", "sha")
_SEMVER = re.compile(  # Semantic Versioning 2.0.0, §2, §9 and §10, with the `v` that node-semver lets pass
    r"v?(?P<major>0|[1-9]\d{0,15})\.(?P<minor>0|[1-9]\d{0,15})\.(?P<patch>0|[1-9]\d{0,15})"
    r"(?P<pre>-(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*)?"
    r"(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?",
    re.ASCII,
)
_GROUP = re.compile(r":(\d{1,2})$")
_TIMES = "YymdHMSjGVu%"  # what strftime may be asked for: numbers only, the same everywhere
_LONGEST = 64  # characters of a tag that a pattern is tried on
_REPEATS = 4  # of what may repeat in a pattern: the time that it takes is the length to this power
_CHOICES = 3  # of what may be left out: each doubles that time


@dataclass(frozen=True)
class Template:
    """One template, such as `semver:{{version}}`.

    `prefix` and `suffix` are None where the flavor's count. `tags` and `branches` are patterns of the refs that it is
    for; if both are None it is for all, otherwise only for what is named.
    """

    text: str
    prefix: str | None = None
    suffix: str | None = None
    tags: tuple[str, ...] | None = None
    branches: tuple[str, ...] | None = None

    @property
    def kind(self) -> str:
        """What stands before the first colon."""
        return self.text.partition(":")[0]

    @property
    def pattern(self) -> str:
        """What stands behind it."""
        return self.text.partition(":")[2]

    def is_for(self, ref: str) -> bool:
        """Whether it counts for this ref."""
        if self.tags is None and self.branches is None:
            return True
        prefix, patterns = (TAG_PREFIX, self.tags) if ref.startswith(TAG_PREFIX) else (BRANCH_PREFIX, self.branches)
        return patterns is not None and matches(patterns, ref.removeprefix(prefix))


@dataclass(frozen=True)
class Flavor:
    """What holds for all templates. `on_latest`: prefix and suffix are put around `latest`, too."""

    latest: Literal["auto"] | bool = "auto"
    prefix: str = ""
    suffix: str = ""
    on_latest: bool = False


@dataclass(frozen=True)
class Moment:
    """What templates may speak of. `now` is when the build began; `scheduled`: the schedule started it."""

    ref: str
    commit: str
    now: datetime
    scheduled: bool = False

    @property
    def tag(self) -> str:
        """The git tag, or ""."""
        return self.ref.removeprefix(TAG_PREFIX) if self.ref.startswith(TAG_PREFIX) else ""

    @property
    def branch(self) -> str:
        """The branch, or ""."""
        return self.ref.removeprefix(BRANCH_PREFIX) if self.ref.startswith(BRANCH_PREFIX) else ""


def wanted_tags(templates: Sequence[Template], flavor: Flavor, moment: Moment) -> tuple[str, ...]:
    """The image tags, the most important first, each once; what would be no legal tag is left out.

    >>> moment = Moment("refs/tags/v1.2.3", "c" * 40, datetime(2024, 1, 2))
    >>> wanted_tags([Template("semver:{{major}}.{{minor}}"), Template("sha:short")], Flavor(), moment)
    ('1.2', 'sha-ccccccc', 'latest')
    """
    found: list[tuple[str, bool]] = []
    for template in sorted(templates, key=lambda each: -_PRIORITY[each.kind]):
        given = _evaluate(template, moment) if template.is_for(moment.ref) else None
        if given is not None and (name := _around(given[0], template, flavor, moment)):
            found.append((name, given[1]))
    # The most important template alone decides: a pre-release is not `latest` because a tag of raw text comes after it.
    latest = bool(found) and found[0][1] if flavor.latest == "auto" else flavor.latest
    names = [name for name, _ in found]
    if latest and found:
        names.append(_around(LATEST, Template("raw:"), flavor, moment) if flavor.on_latest else LATEST)
    return tuple(name for name in dict.fromkeys(names) if is_tag(name) and not name.startswith(PRIVATE_PREFIX))


def template_problem(text: str) -> str:
    """What is wrong with the text of a template, or ""."""
    kind, colon, pattern = text.partition(":")
    if kind not in _PRIORITY or not colon or not text.isprintable() or len(text) > 200:
        return 'write a kind, a colon and more, such as "semver:{{version}}"; kinds are ' + ", ".join(sorted(_PRIORITY))
    match kind:
        case "ref" if pattern not in ("tag", "branch"):
            return "write ref:tag or ref:branch"
        case "sha" if pattern not in ("short", "long"):
            return "write sha:short or sha:long"
        case "semver" | "pep440":
            return fields_problem(pattern, _VERSION_FIELDS) or ("" if "{{" in pattern else "it names no {{version}}")
        case "match":
            return _match_problem(pattern)
        case "raw":
            return fields_problem(pattern, _REF_FIELDS) or ("" if pattern else "there is no text behind `raw:`")
        case "date" | "schedule":
            return _time_problem(pattern)
    return ""


def fields_problem(text: str, known: Sequence[str] = _REF_FIELDS) -> str:
    """What is wrong with the `{{…}}` in a text, or ""."""
    for name in _FIELD.findall(text):
        if name not in known:
            return f"there is no {{{{{name}}}}}; known are " + ", ".join(f"{{{{{each}}}}}" for each in known)
    return "`{{` and `}}` do not fit together" if re.search(r"\{\{|\}\}", _FIELD.sub("", text)) else ""


def _evaluate(template: Template, moment: Moment) -> tuple[str, bool] | None:
    """The name without what is put around it, and whether `latest` goes with it; None if there is none."""
    match template.kind:
        case "semver":
            return _semver(template.pattern, _flat(moment.tag))
        case "pep440":
            return _pep440(template.pattern, _flat(moment.tag))
        case "match":
            return _match(template.pattern, _flat(moment.tag))
        case "ref":
            name = moment.tag if template.pattern == "tag" else moment.branch
            return (_flat(name), template.pattern == "tag") if name else None
        case "sha":
            return (moment.commit[:7] if template.pattern == "short" else moment.commit), False
        case "schedule" if not moment.scheduled:
            return None
        case "schedule" | "date":
            return moment.now.astimezone(UTC).strftime(template.pattern), False
    return _filled(template.pattern, _ref_fields(moment)), False


def _flat(name: str) -> str:
    return name.replace("/", "-")


def _semver(pattern: str, tag: str) -> tuple[str, bool] | None:
    match = _SEMVER.fullmatch(tag)
    if match is None:
        return None
    numbers = {key: match[key] for key in ("major", "minor", "patch")}
    version = ".".join(numbers.values()) + (match["pre"] or "")
    return _version(pattern, {**numbers, "version": version, "raw": tag}, bool(match["pre"]))


def _pep440(pattern: str, tag: str) -> tuple[str, bool] | None:
    try:
        version = Version(tag)
    except InvalidVersion:
        return None
    unstable = version.is_prerelease or version.is_postrelease
    numbers = {"major": str(version.major), "minor": str(version.minor), "patch": str(version.micro)}
    return _version(pattern, {**numbers, "version": str(version), "raw": tag}, unstable)


def _version(pattern: str, values: Mapping[str, str], unstable: bool) -> tuple[str, bool]:
    """A pre-release has its whole name only: nobody who asks for `1.2` means it."""
    raw = _FIELD.fullmatch(pattern)
    if unstable and not (raw and raw[1] == "raw"):
        return values["version"], False
    return _filled(pattern, values), not unstable


def _match(pattern: str, tag: str) -> tuple[str, bool] | None:
    if not tag or len(tag) > _LONGEST:
        return None
    expression, group = _split_group(pattern)
    found = re.search(expression, tag)
    return (found[group], True) if found and found[group] else None


def _split_group(pattern: str) -> tuple[str, int]:
    group = _GROUP.search(pattern)
    return (pattern[: group.start()], int(group[1])) if group else (pattern, 0)


def _match_problem(pattern: str) -> str:
    """Only what ends soon on any ref: nothing that repeats within what repeats, and little that repeats at all."""
    expression, group = _split_group(pattern)
    bare = re.sub(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]", "x", expression)
    if re.search(r"\)\s*[*+{]|\(\?(?!:)", bare) or re.search(r"\\[1-9]", expression):
        return "in a pattern no group repeats, and there is neither look-around nor a reference to a group"
    if len(re.findall(r"[*+{]", bare)) > _REPEATS or len(re.findall(r"(?<!\()[?|]", bare)) > _CHOICES:
        return f"a pattern has at most {_REPEATS} of `*`, `+` and `{{…}}`, and at most {_CHOICES} of `?` and `|`"
    try:
        groups = re.compile(expression).groups
    except (re.error, OverflowError) as exc:
        return f"{expression!r} is not a regular expression: {exc}"
    if not expression or group > groups:
        return f"the pattern has no group {group}" if expression else "there is no pattern behind `match:`"
    return ""


def _time_problem(pattern: str) -> str:
    asked = re.findall(r"%(.?)", pattern)
    if not pattern or any(each not in tuple(_TIMES) for each in asked):
        return "write a time as strftime does, of " + " ".join(f"%{each}" for each in _TIMES)
    return ""


def _ref_fields(moment: Moment) -> Mapping[str, str]:
    return {"tag": _flat(moment.tag), "branch": _flat(moment.branch), "sha": moment.commit[:7]}


def _filled(text: str, values: Mapping[str, str]) -> str:
    return _FIELD.sub(lambda match: values[match[1]], text)


def _around(name: str, template: Template, flavor: Flavor, moment: Moment) -> str:
    prefix = template.prefix
    if prefix is None:
        prefix = "sha-" if template.kind == "sha" else flavor.prefix
    suffix = flavor.suffix if template.suffix is None else template.suffix
    return re.sub(r"[^a-zA-Z0-9._-]+", "-", _filled(f"{prefix}{{{{}}}}{suffix}", {**_ref_fields(moment), "": name}))
