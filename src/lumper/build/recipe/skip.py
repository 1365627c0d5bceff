"""Whether a commit is to be built at all, by its own word. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from lumper.build.recipe.recipe import Conditions
from lumper.model.events import BuildJob
from lumper.model.patterns import any_matches, matches
from lumper.model.refs import BRANCH_PREFIX, TAG_PREFIX
from lumper.model.trigger import Trigger

_ASKED = re.compile(r"\[(?:skip lumper|lumper skip)\]", re.IGNORECASE)
_BY_ITSELF = (Trigger.PUSH, Trigger.MISSED)  # whoever asks for a build, by hand or by a schedule, gets it


def asks_to_skip(job: BuildJob, message: str) -> str:
    """Why the message of the commit keeps it from being built, or ""."""
    if job.trigger in _BY_ITSELF and _ASKED.search(message):
        return "The message of the commit has [skip lumper] in it."
    return ""


def unwanted(job: BuildJob, conditions: Conditions, changed: Sequence[str] | None) -> str:
    """Why the `[on]` of the recipe keeps the commit from being built, or "".

    `changed` are the files that differ from what the ref pointed at before; None where that is not known, and then
    `paths` keep nothing from being built.
    """
    if job.trigger not in _BY_ITSELF:
        return ""
    kinds = ((TAG_PREFIX, conditions.tags, "tag"), (BRANCH_PREFIX, conditions.branches, "branch"))
    for prefix, patterns, kind in kinds:
        name = job.ref.removeprefix(prefix)
        if job.ref.startswith(prefix) and patterns is not None and not matches(patterns, name):
            return f"[on] of lumper.toml does not build the {kind} {name}."
    if changed is not None and conditions.paths is not None and not any_matches(conditions.paths, changed):
        return "No file that [on] paths of lumper.toml names has changed."
    return ""
