"""The status of a build, as people see it beside its commit. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum

from lumper.model.builds.build import Build, BuildState
from lumper.model.refs import TAG_PREFIX

_LONGEST_CONTEXT = 255  # characters that each forge takes: columns of GitLab and Bitbucket have no more
_LONGEST_TAGS = 68  # characters: with them and a digest a description is as long as GitHub takes it


class StatusState(StrEnum):
    """The state of a commit's build; each forge has its own words for it."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCESS = "success"
    FAILURE = "failure"
    CANCELLED = "cancelled"


_STATES = {
    BuildState.QUEUED: StatusState.PENDING,
    BuildState.RUNNING: StatusState.RUNNING,
    BuildState.SUCCEEDED: StatusState.SUCCESS,
    BuildState.FAILED: StatusState.FAILURE,
    BuildState.CANCELLED: StatusState.CANCELLED,
    BuildState.SKIPPED: StatusState.CANCELLED,
}


@dataclass(frozen=True)
class Status:
    """A commit's status. `context` tells our statuses from those of others; `page` is the build's."""

    state: StatusState
    context: str
    description: str
    page: str


def status_of(build: Build, page: str) -> Status:
    """The status of a build."""
    words = build.state.words
    if build.state is BuildState.SUCCEEDED:
        words = f"{clip(', '.join(build.tags), _LONGEST_TAGS)} {build.digest}"
    elif build.error:
        words = build.error if build.state is BuildState.FAILED else f"{words}: {build.error}"
    return Status(_STATES[build.state], _context_of(build.image, build.ref), words, page)


def split_status(image: str, ref: str, page: str) -> Status:
    """The final status of a build that turned out to be several, each with its own."""
    return Status(StatusState.SUCCESS, _context_of(image, ref), "each image has a status of its own", page)


def _context_of(image: str, ref: str) -> str:
    """The name of a build's status among those of the same commit.

    Each tag has its own. All branches share one: a forge can be told to merge nothing without it.
    """
    return f"lumper/{image}:{ref.removeprefix(TAG_PREFIX)}" if ref.startswith(TAG_PREFIX) else f"lumper/{image}"


def clip(text: str, longest: int) -> str:
    """At most so many characters, the last one an ellipsis if some are left out."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def context(status: Status) -> str:
    """The context in at most 255 characters: a longer one ends with a digest of itself."""
    if len(status.context) <= _LONGEST_CONTEXT:
        return status.context
    digest = hashlib.sha256(status.context.encode("utf-8", "replace")).hexdigest()[:12]
    return f"{status.context[: _LONGEST_CONTEXT - 1 - len(digest)]}-{digest}"
