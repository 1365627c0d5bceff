"""Which build begins next, on which worker, and why each of the others waits: a pure decision.

The next one is of the project with the highest priority; then what somebody asked for goes before pushes, and these
before what starts by itself; then comes the project whose builds have kept workers busy the least for its weight; then
the one that waits the longest. A build that has waited for PATIENCE is passed by OVERTAKERS younger ones at most, so
that no priority and no weight lets anybody wait for ever.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from lumper.model.trigger import Trigger

PATIENCE = 600.0  # seconds
OVERTAKERS = 3
AFFINITY = 5.0  # seconds that a build waits for the worker that has its project's cache, while another is free
LEAST_COST = 10.0  # seconds that a build counts at least, also one that has only just begun
_URGENCY = {Trigger.MANUAL: 2, Trigger.PUSH: 1, Trigger.MISSED: 1}


@dataclass(frozen=True)
class Waiting:
    """A build that waits; `due` is from when on it may begin, and since when it has waited.

    It is not for the worker `avoid`, if there is another one: that has built what is to be built once more.
    """

    id: int
    project: str
    due: datetime
    trigger: Trigger
    avoid: str = ""


@dataclass(frozen=True)
class Share:
    """What a project has and may have. `used` are the seconds for which its builds of late kept workers busy.

    `most` builds run at a time, 0 for any number; `last_worker` is where its cache is.
    """

    weight: int = 1
    priority: int = 0
    most: int = 0
    labels: frozenset[str] = frozenset()
    used: float = 0.0
    running: int = 0
    last_worker: str = ""


@dataclass(frozen=True)
class Capacity:
    """A worker that lives, and how many builds more it takes."""

    name: str
    free: int
    labels: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Given:
    """A build, and the worker that gets it."""

    build: int
    worker: str


@dataclass(frozen=True)
class Wait:
    """A build that waits on: its place in the order, from 1, and the reason."""

    build: int
    position: int
    reason: str


@dataclass(frozen=True)
class Plan:
    """What is to be done now."""

    given: tuple[Given, ...]
    waits: tuple[Wait, ...]


def plan(
    now: datetime,
    waiting: Sequence[Waiting],
    shares: Mapping[str, Share],
    workers: Sequence[Capacity],
    overtaken: int = 0,
) -> Plan:
    """Who begins where. `overtaken` counts the last builds that began and were younger than the oldest that waits."""
    return _Planner(now, waiting, shares, workers, overtaken).run()


class _Planner:
    def __init__(
        self,
        now: datetime,
        waiting: Sequence[Waiting],
        shares: Mapping[str, Share],
        workers: Sequence[Capacity],
        overtaken: int,
    ) -> None:
        self._now = now
        self._shares = dict(shares)
        self._workers = {worker.name: worker for worker in workers}
        self._overtaken = overtaken
        self._lines: dict[str, list[Waiting]] = {}  # by project; the next one is the last
        for build in sorted(waiting, key=_within_project, reverse=True):
            self._lines.setdefault(build.project, []).append(build)

    def run(self) -> Plan:
        given: list[Given] = []
        waits: list[Wait] = []
        while self._lines:
            build = self._next()
            worker, reason = self._place(build)
            if worker:
                given.append(Given(build.id, worker))
                self._begin(build, worker)
            else:
                waits.append(Wait(build.id, len(waits) + 1, reason))
            self._charge(build.project)
        return Plan(tuple(given), tuple(waits))

    def _next(self) -> Waiting:
        heads = [line[-1] for line in self._lines.values()]
        patient = [build for build in heads if self._waited(build) >= PATIENCE and self._place(build)[0]]
        oldest = min(patient, key=_age, default=None)
        build = min(heads, key=self._rank)
        if oldest is not None and self._overtaken >= OVERTAKERS:
            build = oldest
        if oldest is not None and self._place(build)[0]:
            self._overtaken = 0 if _age(build) <= _age(oldest) else self._overtaken + 1
        line = self._lines[build.project]
        line.pop()
        if not line:
            del self._lines[build.project]
        return build

    def _rank(self, build: Waiting) -> tuple[object, ...]:
        share = self._shares[build.project]
        return (-share.priority, -urgency(build.trigger), share.used / share.weight, *_age(build))

    def _waited(self, build: Waiting) -> float:
        return (self._now - build.due).total_seconds()

    def _begin(self, build: Waiting, worker: str) -> None:
        share, taken = self._shares[build.project], self._workers[worker]
        self._shares[build.project] = replace(share, running=share.running + 1)
        self._workers[worker] = replace(taken, free=taken.free - 1)

    def _charge(self, project: str) -> None:
        """Also for one that waits, so that the places of the others are those that they will have."""
        share = self._shares[project]
        self._shares[project] = replace(share, used=share.used + LEAST_COST)

    def _place(self, build: Waiting) -> tuple[str, str]:
        """The worker for this build, or "" and why there is none now."""
        share = self._shares[build.project]
        fitting = [worker for worker in self._workers.values() if share.labels <= worker.labels]
        fitting = [worker for worker in fitting if worker.name != build.avoid] or fitting
        free = [worker for worker in fitting if worker.free > 0]
        own = next((one for one in fitting if one.name == share.last_worker and not build.avoid), None)
        if self._waited(build) < 0:
            return "", f"tried again at {build.due:%H:%M:%S} UTC"
        if not self._workers:
            return "", "no worker is online"
        if not fitting:
            return "", f"no worker that is online has the labels {', '.join(sorted(share.labels))}"
        if share.most and share.running >= share.most:
            return "", f"its project has {share.running} of {share.most} builds that may run at a time"
        if not free:
            return "", "all workers that could take it are busy"
        if own is not None and own.free > 0:
            return own.name, ""
        if own is not None and self._waited(build) < AFFINITY:
            return "", f"waits a moment for {own.name}, which has its cache"
        return max(free, key=lambda worker: (worker.free, worker.name)).name, ""


def urgency(trigger: Trigger) -> int:
    """What somebody asked for is 2, a push 1, and what starts by itself 0."""
    return _URGENCY.get(trigger, 0)


def _age(build: Waiting) -> tuple[datetime, int]:
    return build.due, build.id


def _within_project(build: Waiting) -> tuple[object, ...]:
    return (-urgency(build.trigger), *_age(build))
