"""What starts the builds of a project."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from lumper.model.patterns import matches, pattern_problem
from lumper.model.refs import BRANCH_PREFIX, TAG_PREFIX

_RANGES = {"concurrency": (0, 1000), "weight": (1, 1000), "priority": (-100, 100)}


class Trigger(StrEnum):
    """Why a build was started.

    push      a forge told of a push
    missed    the forge told nothing, and the tag is there
    schedule  the time had come
    manual    somebody asked for it
    base      a base image has another digest than the last time
    verify    another build is to be verified
    """

    PUSH = "push"
    MISSED = "missed"
    SCHEDULE = "schedule"
    MANUAL = "manual"
    BASE = "base"
    VERIFY = "verify"


@dataclass(frozen=True)
class BuildRules:
    """The rules of a project. `tags` and `branches` are patterns as in model/patterns.py.

    `schedule` is a line of cron(5), "" for never, in UTC or with a zone before it; it builds `schedule_ref`, a full
    name, or, where that is "", the newest tag that was built. `reconcile`: look for tags that the forge did not tell
    of. `base_images`: build the newest tag again when one of its base images has another digest.

    When its builds begin: `concurrency` of them run at a time, 0 for any number; workers with all of `labels` take
    them; those of a higher `priority` go first; among equals, a project gets time in proportion to its `weight`.
    """

    tags: tuple[str, ...] = ("**",)
    branches: tuple[str, ...] = ()
    schedule: str = ""
    schedule_ref: str = ""
    reconcile: bool = True
    base_images: bool = False
    concurrency: int = 0
    weight: int = 1
    priority: int = 0
    labels: tuple[str, ...] = ()

    def builds(self, ref: str) -> bool:
        """Whether a push of this ref is to be built."""
        if ref.startswith(TAG_PREFIX):
            return matches(self.tags, ref.removeprefix(TAG_PREFIX))
        return ref.startswith(BRANCH_PREFIX) and matches(self.branches, ref.removeprefix(BRANCH_PREFIX))

    def problems(self) -> list[str]:
        """What is wrong with them, but for the line of cron."""
        told = {pattern: pattern_problem(pattern) for pattern in self.tags + self.branches}
        found = [f"{pattern!r}: {words}" for pattern, words in told.items() if words]
        if self.schedule_ref and not self.schedule_ref.startswith((BRANCH_PREFIX, TAG_PREFIX)):
            found.append(f"{self.schedule_ref!r} is not the full name of a ref; write refs/heads/main")
        for name, (least, most) in _RANGES.items():
            if not least <= getattr(self, name) <= most:
                found.append(f"{name} must be between {least} and {most}")
        found += [f"{label!r} is not a label" for label in self.labels if not is_label(label)]
        return found


def is_label(text: str) -> bool:
    """Whether a worker can have this label."""
    return re.fullmatch(r"[A-Za-z0-9._=-]{1,60}", text) is not None


def rules_from_json(values: Mapping[str, Any]) -> BuildRules:
    """Rules as they are stored: a JSON object with the fields that differ from the defaults, lists for tuples."""
    known = BuildRules.__dataclass_fields__
    given: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in values.items() if key in known}
    return BuildRules(**given)


def rules_to_json(rules: BuildRules) -> dict[str, Any]:
    """The other way round."""
    return {key: value for key, value in vars(rules).items() if value != getattr(BuildRules(), key)}
