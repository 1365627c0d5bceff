"""Builds: their life, their progress as the engine tells it, and the records of their log."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from lumper.model.deployment import Service
from lumper.model.refs import short_name
from lumper.model.source import Person
from lumper.model.trigger import Trigger


class BuildState(StrEnum):
    """The state of a build. A new one is queued; the table `_LIFE` below has the moves."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"

    @property
    def final(self) -> bool:
        """Whether the build has ended. Only a restart moves it on."""
        return self in ENDED

    @property
    def words(self) -> str:
        """The state in the sentence "The build …", for people."""
        return _LIFE[self].words

    @property
    def sources(self) -> tuple[BuildState, ...]:
        """The states that may become this one."""
        return tuple(state for state, life in _LIFE.items() if self in life.moves)


@dataclass(frozen=True)
class _Life:
    words: str
    moves: tuple[BuildState, ...]
    ended: bool = True


_QUEUED, _RUNNING, _SUCCEEDED, _FAILED, _CANCELLED, _SKIPPED = BuildState
_LIFE = {  # back to queued: a lost or failed attempt that is tried again, a split, or a restart
    _QUEUED: _Life("waits", (_RUNNING, _CANCELLED, _FAILED, _QUEUED), ended=False),
    _RUNNING: _Life("is built", (_SUCCEEDED, _FAILED, _CANCELLED, _SKIPPED, _QUEUED), ended=False),
    _SUCCEEDED: _Life("was built", (_QUEUED,)),
    _FAILED: _Life("failed", (_QUEUED,)),
    _CANCELLED: _Life("was cancelled", (_QUEUED,)),
    _SKIPPED: _Life("was skipped", (_QUEUED,)),
}
ENDED = tuple(state for state, life in _LIFE.items() if life.ended)
UNFINISHED = tuple(state for state, life in _LIFE.items() if not life.ended)


class Attested(StrEnum):
    """What was told of the image beside it: nothing yet; signature and provenance; all; nothing, after many tries."""

    NOTHING = ""
    SIGNED = "signed"
    WHOLE = "whole"
    FAILED = "failed"


@dataclass(frozen=True)
class Base:
    """An image that a Dockerfile is FROM: its name with tag, and the digest that it had then."""

    name: str
    digest: str


@dataclass(frozen=True)
class Build:
    """One recipe at one commit.

    `commit` is what the delivery told until the worker has resolved it; `attempt` counts from 1 and is the fencing
    token: only its result is accepted. `created_at` is when it was asked for, the last time. `tags` are the image tags
    that the build moved, `elsewhere` the names with tags that other registries have of the image; `stages` the
    milliseconds that each stage took; `cause` says in words what made it start, where `trigger` does not say it all;
    `parameters` are what the recipe asked for. `recipe` is the name of the image in `lumper.toml`, where that has
    several. `verifies` is the build whose image this one is to give once more, 0 for a build of its own.
    """

    id: int
    project: str
    ref: str
    commit: str
    image: str
    state: BuildState
    attempt: int
    created_at: datetime
    pusher: Person = field(default_factory=Person)
    author: Person = field(default_factory=Person)
    started_at: datetime | None = None
    finished_at: datetime | None = None
    worker: str = ""
    digest: str = ""
    size: int = 0
    tags: tuple[str, ...] = ()
    elsewhere: tuple[str, ...] = ()
    error: str = ""
    hint: str = ""
    log_size: int = 0
    stages: dict[str, int] = field(default_factory=dict)
    trigger: Trigger = Trigger.PUSH
    cause: str = ""
    bases: tuple[Base, ...] = ()
    parameters: dict[str, Any] = field(default_factory=dict)
    attested: Attested = Attested.NOTHING
    recipe: str = ""
    verifies: int = 0

    @property
    def tag(self) -> str:
        """The git tag, or the branch."""
        return short_name(self.ref)

    @property
    def seconds(self) -> float | None:
        """How long the last attempt took, or None while it has not ended."""
        return (self.finished_at - self.started_at).total_seconds() if self.started_at and self.finished_at else None


class StepState(StrEnum):
    """The state of one step of a build."""

    RUNNING = "running"
    DONE = "done"
    CACHED = "cached"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class Step:
    """A step of a build began or changed. `number` counts from 1 within the build; `at` is seconds since the epoch."""

    number: int
    name: str
    state: StepState
    at: float
    error: str = ""


@dataclass(frozen=True)
class Output:
    """What a step printed at once: a line without its end, or several with line feeds between them.

    `stream`: 1 is stdout, 2 stderr, 0 what Lumper itself says.
    """

    number: int
    stream: int
    at: float
    text: str


Progress = Step | Output


@dataclass(frozen=True)
class Part:
    """One of the several images of a commit: its name in `lumper.toml`, and its repository below the project's.

    `image` "" is the project's repository itself.
    """

    name: str
    image: str


class Outcome(StrEnum):
    """How an attempt ended.

    What is skipped was not to be built, by the commit's own word; `error` says why. What is split has several images,
    of which each is a build of its own.
    """

    SPLIT = "split"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Result:
    """What a worker says of an attempt.

    `temporary` failures are tried again by the server. `service` is what the recipe wants to be run. `stages` are
    the milliseconds that each stage took (checkout, build, push, spread). `tags` are the image tags that the recipe's
    templates give, None where it has none. `elsewhere` are the names, HOST/REPOSITORY:TAG, that the image has in other
    registries. `parameters` are what the recipe asked for, without secrets. `parts` are the
    images of a commit that has several.
    """

    outcome: Outcome
    commit: str = ""
    author: Person = field(default_factory=Person)
    digest: str = ""
    size: int = 0
    error: str = ""
    hint: str = ""
    temporary: bool = False
    service: Service | None = None
    stages: dict[str, int] = field(default_factory=dict)
    bases: tuple[Base, ...] = ()
    tags: tuple[str, ...] | None = None
    elsewhere: tuple[str, ...] = ()
    parameters: dict[str, Any] = field(default_factory=dict)
    parts: tuple[Part, ...] = ()
