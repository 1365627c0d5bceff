"""What changed from one image to another, for people to look at: of what image.py has read of both. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from enum import StrEnum

from lumper.registry.inspect.image import Inspection, Platform, Settings, Step


class Fate(StrEnum):
    """What became of a layer, or a line of the recipe."""

    STAYS = "stays"
    GOES = "goes"
    COMES = "comes"


@dataclass(frozen=True)
class Changed:
    """A setting: its name and its two values, "" where it is not set."""

    name: str
    before: str
    after: str


@dataclass(frozen=True)
class Pair:
    """What two indexes have for one platform, None where one has nothing."""

    name: str
    before: Platform | None
    after: Platform | None

    @property
    def same(self) -> bool:
        """Whether it is the same image."""
        return bool(self.before and self.after and self.before.digest == self.after.digest)


@dataclass(frozen=True)
class Changes:
    """All of it. Bytes are those of layers, compressed: `new` must be pulled by who has the first image."""

    platforms: tuple[Pair, ...] = ()
    settings: tuple[Changed, ...] = ()
    steps: tuple[tuple[Fate, Step], ...] = ()
    kept: int = 0
    new: int = 0


def changes(before: Inspection, after: Inspection) -> Changes:
    """What changed."""
    steps = tuple(_steps(before.steps, after.steps))
    there = {step.digest for step in before.steps if step.digest}
    sizes = {step.digest: step.size for step in after.steps if step.digest}
    kept = sum(size for digest, size in sizes.items() if digest in there)
    return Changes(
        platforms=tuple(_pairs(before.platforms, after.platforms)),
        settings=tuple(_settings(before, after)),
        steps=steps,
        kept=kept,
        new=sum(sizes.values()) - kept,
    )


def _pairs(before: Sequence[Platform], after: Sequence[Platform]) -> Iterator[Pair]:
    """By name; attestations belong to an image and are left out."""
    first, second = ({one.name: one for one in side if not one.about} for side in (before, after))
    for name in dict.fromkeys((*first, *second)):
        yield Pair(name, first.get(name), second.get(name))


def _steps(before: Sequence[Step], after: Sequence[Step]) -> Iterator[tuple[Fate, Step]]:
    first, second = _keys(before), _keys(after)
    for kind, begin, end, start, stop in SequenceMatcher(None, first, second, autojunk=False).get_opcodes():
        if kind == "equal":
            yield from ((Fate.STAYS, step) for step in after[start:stop])
            continue
        yield from ((Fate.GOES, step) for step in before[begin:end])
        yield from ((Fate.COMES, step) for step in after[start:stop])


def _keys(steps: Sequence[Step]) -> list[tuple[str, int]]:
    """What each step is known by, none twice: what repeats itself would be compared for seconds."""
    seen: Counter[str] = Counter()
    keys = []
    for step in steps:
        name = step.digest or step.command
        keys.append((name, seen[name]))
        seen[name] += 1
    return keys


def _settings(before: Inspection, after: Inspection) -> Iterator[Changed]:
    first, second = before.settings or Settings(), after.settings or Settings()
    for name in ("platform", "created", "user", "folder"):
        yield from _changed(name.capitalize(), getattr(first, name), getattr(second, name))
    for name in ("entrypoint", "command", "ports", "volumes"):
        yield from _changed(name.capitalize(), *(" ".join(getattr(side, name)) for side in (first, second)))
    yield from _of_maps("", _variables(first.environment), _variables(second.environment))
    yield from _of_maps("Label ", first.labels, second.labels)
    yield from _of_maps("Annotation ", before.annotations, after.annotations)


def _variables(environment: Sequence[str]) -> dict[str, str]:
    """By name, as `$NAME`."""
    return {f"${name}": value for name, _, value in (one.partition("=") for one in environment)}


def _of_maps(prefix: str, before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Changed]:
    for key in sorted({*before, *after}):
        yield from _changed(prefix + key, before.get(key, ""), after.get(key, ""))


def _changed(name: str, before: str, after: str) -> Iterator[Changed]:
    if before != after:
        yield Changed(name, before, after)
