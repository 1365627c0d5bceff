"""Templates of image tags: what a commit and its ref make of them. Pure.

The semantics are those of docker/metadata-action, README, "tags input" and "flavor input": what names a template gives
for a ref, which of them makes `latest` follow, and how prefixes and suffixes are put. docs/reference/lumper-toml.md has
the mapping from its notation.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from packaging.version import InvalidVersion, Version

from lumper.build.recipe.tag_checks import FIELD, LONGEST, PRIORITY, kind_of, pattern_of, split_pattern
from lumper.build.recipe.tag_times import parse_time
from lumper.model.images.image import LATEST, PRIVATE_PREFIX, is_tag
from lumper.model.patterns import matches
from lumper.model.refs import BRANCH_PREFIX, TAG_PREFIX, branch_in, tag_in

_SEMVER = re.compile(  # Semantic Versioning 2.0.0, §2, §9 and §10, with the `v` that node-semver lets pass
    r"v?(?P<major>0|[1-9]\d{0,15})\.(?P<minor>0|[1-9]\d{0,15})\.(?P<patch>0|[1-9]\d{0,15})"
    r"(?P<pre>-(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*)?"
    r"(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?",
    re.ASCII,
)
_DIGITS = {"short": 7, "long": 64}


@dataclass(frozen=True)
class Template:
    """One template, such as `semver:{{version}}`.

    `prefix` and `suffix` are None where the flavor's count. `tags` and `branches` are patterns of the refs that it is
    for; if both are None it is for all, otherwise only for what is named. `priority` is None for that of its kind.
    `value` stands for the git tag that semver, pep440 and match read, and of it `match` is the part that counts.
    """

    text: str
    prefix: str | None = None
    suffix: str | None = None
    tags: tuple[str, ...] | None = None
    branches: tuple[str, ...] | None = None
    priority: int | None = None
    value: str = ""
    match: str = ""

    @property
    def kind(self) -> str:
        """What stands before the first colon."""
        return kind_of(self.text)

    @property
    def pattern(self) -> str:
        """What stands behind it."""
        return pattern_of(self.text)

    @property
    def importance(self) -> int:
        """The highest comes first."""
        return PRIORITY[self.kind] if self.priority is None else self.priority

    def is_for(self, ref: str) -> bool:
        """Whether it counts for this ref."""
        if self.tags is None and self.branches is None:
            return True
        prefix, patterns = (TAG_PREFIX, self.tags) if ref.startswith(TAG_PREFIX) else (BRANCH_PREFIX, self.branches)
        return patterns is not None and matches(patterns, ref.removeprefix(prefix))


@dataclass(frozen=True)
class Flavor:
    """What holds for all templates. `on_latest`: prefix, suffix or both are put around `latest`, too."""

    latest: Literal["auto"] | bool = "auto"
    prefix: str = ""
    suffix: str = ""
    on_latest: Literal["prefix", "suffix"] | bool = False


@dataclass(frozen=True)
class Moment:
    """What templates may speak of: `now` is when the build began, `committed` the time of the commit.

    `scheduled`: the schedule started it.
    """

    ref: str
    commit: str
    now: datetime
    scheduled: bool = False
    committed: datetime | None = None

    @property
    def tag(self) -> str:
        """The git tag, or ""."""
        return tag_in(self.ref)

    @property
    def branch(self) -> str:
        """The branch, or ""."""
        return branch_in(self.ref)


def wanted_tags(templates: Sequence[Template], flavor: Flavor, moment: Moment) -> tuple[str, ...]:
    """The image tags, the most important first, each once; what would be no legal tag is left out.

    >>> moment = Moment("refs/tags/v1.2.3", "c" * 40, datetime(2024, 1, 2))
    >>> wanted_tags([Template("semver:{{major}}.{{minor}}"), Template("sha:short")], Flavor(), moment)
    ('1.2', 'sha-ccccccc', 'latest')
    """
    found: list[tuple[str, bool]] = []
    for template in sorted(templates, key=lambda each: -each.importance):
        given = _evaluate(template, moment) if template.is_for(moment.ref) else None
        if given is not None and (name := _around(given[0], template, flavor, moment)):
            found.append((name, given[1]))
    # The most important template alone decides: a pre-release is not `latest` because a tag of raw text comes after it.
    latest = bool(found) and found[0][1] if flavor.latest == "auto" else flavor.latest
    names = [name for name, _ in found]
    if latest and found:
        prefix = flavor.prefix if flavor.on_latest in (True, "prefix") else ""
        suffix = flavor.suffix if flavor.on_latest in (True, "suffix") else ""
        names.append(_around(LATEST, Template("raw:", prefix, suffix), flavor, moment))
    return tuple(name for name in dict.fromkeys(names) if is_tag(name) and not name.startswith(PRIVATE_PREFIX))


def _evaluate(template: Template, moment: Moment) -> tuple[str, bool] | None:
    """The name without what is put around it, and whether `latest` goes with it; None if there is none."""
    match template.kind:
        case "semver" | "pep440" | "match":
            return _EVALUATE[template.kind](template.pattern, _version_text(template, moment))
        case "ref":
            name = moment.tag if template.pattern == "tag" else moment.branch
            return (name, template.pattern == "tag") if name else None
        case "edge":
            return ("edge", False) if moment.branch == template.pattern else None
        case "sha":
            return moment.commit[: _DIGITS.get(template.pattern) or int(template.pattern)], False
        case "schedule" if not moment.scheduled:
            return None
        case "schedule" | "date" if "{{" not in template.pattern:
            return moment.now.astimezone(UTC).strftime(template.pattern), False
    return _filled(template.pattern, moment), False


def _version_text(template: Template, moment: Moment) -> str:
    """What is read as a version: the git tag or what stands for it, or the part of that which is asked for."""
    text = _filled(template.value, moment) if template.value else moment.tag
    if not template.match:
        return text
    found = _search(template.match, text)
    return (found[1] if found.re.groups else found[0]) or "" if found else ""


def _flat(name: str) -> str:
    return name.replace("/", "-")


def _semver(pattern: str, tag: str) -> tuple[str, bool] | None:
    tag = _flat(tag)
    match = _SEMVER.fullmatch(tag)
    if match is None:
        return None
    numbers = {key: match[key] for key in ("major", "minor", "patch")}
    version = ".".join(numbers.values()) + (match["pre"] or "")
    return _version(pattern, {**numbers, "version": version, "raw": tag}, bool(match["pre"]))


def _pep440(pattern: str, tag: str) -> tuple[str, bool] | None:
    tag = _flat(tag)
    try:
        version = Version(tag)
    except InvalidVersion:
        return None
    unstable = version.is_prerelease or version.is_postrelease
    numbers = {"major": str(version.major), "minor": str(version.minor), "patch": str(version.micro)}
    return _version(pattern, {**numbers, "version": str(version), "raw": tag}, unstable)


def _version(pattern: str, values: Mapping[str, str], unstable: bool) -> tuple[str, bool]:
    """A pre-release has its whole name only: nobody who asks for `1.2` means it."""
    raw = FIELD.fullmatch(pattern)
    if unstable and not (raw and raw[1] == "raw"):
        return values["version"], False
    return FIELD.sub(lambda found: values[found[1]], pattern), not unstable


def _match(pattern: str, tag: str) -> tuple[str, bool] | None:
    found = _search(pattern, tag)
    group = split_pattern(pattern)[1]
    return (found[group], True) if found and found[group] else None


_EVALUATE: Mapping[str, Callable[[str, str], tuple[str, bool] | None]] = {
    "semver": _semver,
    "pep440": _pep440,
    "match": _match,
}


def _search(pattern: str, text: str) -> re.Match[str] | None:
    expression, _, flags = split_pattern(pattern)
    return re.search(expression, text, flags) if 0 < len(text) <= LONGEST else None


def _filled(text: str, moment: Moment) -> str:
    values = {"tag": moment.tag, "branch": moment.branch, "sha": moment.commit[:7]}

    def value(found: re.Match[str]) -> str:
        time = parse_time(found[1])
        return time.at(moment.now, moment.committed) if time else values[found[1]]

    return FIELD.sub(value, text)


def _around(name: str, template: Template, flavor: Flavor, moment: Moment) -> str:
    prefix = template.prefix
    if prefix is None:
        prefix = "sha-" if template.kind == "sha" else flavor.prefix
    suffix = flavor.suffix if template.suffix is None else template.suffix
    return re.sub(r"[^a-zA-Z0-9._-]+", "-", _filled(prefix, moment) + name + _filled(suffix, moment))
