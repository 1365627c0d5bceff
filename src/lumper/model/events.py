"""Everything that travels through the queue, by topic.

    worker.<name>:jobs   server → worker     BuildJob
    worker.<name>        server → worker     CancelBuild
    events               worker, deployer → server
    notify               server → mailer     BuildReport, RolloutReport
    deploy               server → deployer   RolloutJob

Events are delivered at least once and may come late: each carries what its consumer needs to see that it was
handled before (build id, attempt, claim, offset). None carries a secret.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from lumper.model.builds.build import Base, Build, Result
from lumper.model.deployment import Container, Release, RolloutState

EVENTS = "events"
NOTIFY = "notify"
DEPLOY = "deploy"
STATUSES = "statuses"
SHARED = (EVENTS, NOTIFY, DEPLOY, STATUSES)
"""The topics that roles share; each worker has two of its own besides."""


def worker_topic(worker: str) -> str:
    """The topic on which one worker hears what is meant for it alone."""
    return f"worker.{worker}"


def jobs_topic(worker: str) -> str:
    """The topic of the builds that one worker is to carry out. No worker's name has a colon."""
    return f"worker.{worker}:jobs"


@dataclass(frozen=True)
class BuildJob:
    """Build this commit and push it as `image`:`push_tag`. `image` has no registry host: the worker adds its own.

    `before` is what the ref pointed at before the push, "" where that is not known. `recipe` names one of several
    images of the commit; "" while it is not known whether it has several. `verifies` is the build whose image is to
    come out once more, from these `bases` and from no cache; 0 for a build of its own.
    """

    build_id: int
    attempt: int
    project_id: str
    project: str
    url: str
    local: bool
    ref: str
    commit: str
    image: str
    push_tag: str
    trigger: str = "push"
    before: str = ""
    recipe: str = ""
    verifies: int = 0
    bases: tuple[Base, ...] = ()


@dataclass(frozen=True)
class CancelBuild:
    """Stop this attempt if it is the one with this claim ("" means: whichever)."""

    build_id: int
    attempt: int
    claim: str = ""


@dataclass(frozen=True)
class WorkerOnline:
    """A worker process began, or ends (`slots` is 0).

    Builds that the same worker held in an earlier life (another `boot`) are lost. It takes `slots` builds at a time.
    """

    worker: str
    boot: str
    slots: int = 1
    labels: tuple[str, ...] = ()
    at: datetime | None = None


@dataclass(frozen=True)
class AttemptStarted:
    """A worker took an attempt. `claim` is new for each taking: the first one known to the server holds the lease."""

    build_id: int
    attempt: int
    claim: str
    worker: str
    boot: str
    at: datetime


@dataclass(frozen=True)
class Heartbeat:
    """A worker lives. `held` are the attempts that it is still busy with, as (build id, attempt, claim)."""

    worker: str
    held: tuple[tuple[int, int, str], ...]
    boot: str = ""
    slots: int = 1
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class LogChunk:
    """Bytes of an attempt's log from `offset` on: a piece of the lines that model/builds/log.py writes, as it packs
    them."""

    build_id: int
    attempt: int
    claim: str
    offset: int
    data: str


@dataclass(frozen=True)
class AttemptFinished:
    """The end of an attempt. `log_size` is how many bytes of log came before it."""

    build_id: int
    attempt: int
    claim: str
    at: datetime
    log_size: int
    result: Result


@dataclass(frozen=True)
class RolloutJob:
    """Bring this release to the host."""

    rollout_id: int
    release: Release


@dataclass(frozen=True)
class RolloutProgress:
    """What happened to a rollout: new lines of its journal from `position` on, and its state."""

    rollout_id: int
    state: RolloutState
    position: int
    lines: tuple[str, ...]
    at: datetime
    error: str = ""
    hint: str = ""


@dataclass(frozen=True)
class HostObserved:
    """All containers of Lumper's that a host has at this moment."""

    host: str
    at: datetime
    containers: tuple[Container, ...]


@dataclass(frozen=True)
class BuildReport:
    """A build ended: tell the people. `registry` is the host[:port] to pull from; `page` the build's page."""

    build: Build
    registry: str
    page: str


@dataclass(frozen=True)
class StatusDue:
    """The state of a build has changed: tell the forge what it is now.

    With `split`, the build was that of this image until several were found: that is what the forge hears.
    """

    build_id: int
    split: str = ""


@dataclass(frozen=True)
class RolloutReport:
    """A rollout ended: tell the people who know of its build, if there is one."""

    rollout_id: int
    service: str
    version: str
    digest: str
    state: RolloutState
    journal: tuple[str, ...]
    error: str
    hint: str
    page: str
    build: Build | None = None
    finished_at: datetime | None = None


Event = WorkerOnline | AttemptStarted | Heartbeat | LogChunk | AttemptFinished | RolloutProgress | HostObserved
Payload = BuildJob | CancelBuild | RolloutJob | BuildReport | RolloutReport | StatusDue | Event
