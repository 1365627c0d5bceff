"""The order in which hosts move to a release. Pure.

`next_moves` is asked again after every event and decides from the plan and the hosts' states alone:

- Every host is prepared before the first one is touched. If preparing fails, nothing is touched.
- Waves follow each other; each may soak, and wait for an approval.
- A host where the release fails goes back at once. More than `max_failures` of them break the rollout.
- Unreachable hosts have a budget of their own, `max_unreachable`, and catch up when they return.
- A broken rollout goes back in reverse order, or pauses for a person, as `on_failure` says.
- Old releases are retired (finish) when no host can fail any more. From then on nothing goes back.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal

from lumper.deploy.targets import COMMITTED, Act, Phase, TargetState
from lumper.errors import Invalid

HostName = str
OnFailure = Literal["revert_all", "revert_wave", "pause"]


@dataclass(frozen=True)
class Wave:
    """Hosts that move together, at most `parallel` at a time.

    After `soak` each is verified again before the next wave. With `approve` the wave waits for a person.
    Raises Invalid.
    """

    targets: tuple[HostName, ...]
    parallel: int = 1
    soak: timedelta = timedelta()
    approve: bool = False

    def __post_init__(self) -> None:
        if not self.targets or self.parallel < 1:
            raise Invalid("A wave needs a host, and moves at least one at a time.")


@dataclass(frozen=True)
class WavePlan:
    """How a rollout moves. `parallel` bounds preparing and finishing.

    `rollback` marks a rollout that is a roll-back itself: it never goes back by itself. What people say meanwhile:
    `approved` waves by number, from 0, and `revert`. A person who wants a paused rollout to continue raises
    `max_failures`. Raises Invalid.
    """

    waves: tuple[Wave, ...]
    parallel: int = 10
    max_failures: int = 0
    max_unreachable: int = 0
    on_failure: OnFailure = "revert_all"
    rollback: bool = False
    approved: frozenset[int] = frozenset()
    revert: bool = False

    def __post_init__(self) -> None:
        if len(set(self.hosts)) < len(self.hosts):
            raise Invalid("A host can be in one wave only.")
        if self.parallel < 1:
            raise Invalid("At least one host has to move at a time.")

    @property
    def hosts(self) -> tuple[HostName, ...]:
        """All hosts in the order of their waves."""
        return tuple(host for wave in self.waves for host in wave.targets)


@dataclass(frozen=True)
class Step:
    """Do this on that host."""

    act: Act
    host: HostName


@dataclass(frozen=True)
class Wait:
    """Nothing can begin before `until`, or before something happens if that is None."""

    until: datetime | None
    reason: str


class Ending(StrEnum):
    """How a rollout ended. `cancelled`: no host was touched. `stuck`: a host could not go back."""

    SUCCEEDED = "succeeded"
    REVERTED = "reverted"
    CANCELLED = "cancelled"
    STUCK = "stuck"


@dataclass(frozen=True)
class End:
    """The rollout has ended. `failed` are the hosts where the release was no good."""

    ending: Ending
    failed: tuple[HostName, ...] = ()


Move = Step | Wait | End


def waves_of(
    hosts: Sequence[HostName],
    sizes: Sequence[str],
    *,
    parallel: int = 1,
    soak: timedelta = timedelta(),
    approve: bool = False,
) -> tuple[Wave, ...]:
    """Waves of the given sizes: counts ("2") or shares of all hosts, rounded up ("25%"). The last size repeats.

    Every wave soaks; the second waits for an approval if asked for. Raises Invalid.
    """
    counts = [_count(size, len(hosts)) for size in sizes or ("100%",)]
    waves: list[Wave] = []
    begin = 0
    while begin < len(hosts):
        count = counts[min(len(waves), len(counts) - 1)]
        part = tuple(hosts[begin : begin + count])
        waves.append(Wave(part, parallel, soak, approve and len(waves) == 1))
        begin += count
    return tuple(waves)


def next_moves(plan: WavePlan, states: Mapping[HostName, TargetState], now: datetime) -> tuple[Move, ...]:
    """What to begin now. Without any step it is one Wait or one End. A host without a state is waiting."""
    soaks = {host: wave.soak for wave in plan.waves for host in wave.targets}
    return _Decision(plan, {host: states.get(host, TargetState()) for host in soaks}, soaks, now).moves()


def _count(size: str, hosts: int) -> int:
    number = size.removesuffix("%")
    if not (number.isascii() and number.isdigit() and int(number) > 0):
        raise Invalid(f"{size!r} is not the size of a wave.", hint="Use a count such as 1 or a share such as 25%.")
    return math.ceil(hosts * int(number) / 100) if size.endswith("%") else int(number)


def _unanswered(state: TargetState) -> bool:
    """Whether the release may be on the host, and the host has not said yet if it is good there."""
    return state.phase in (Phase.APPLYING, Phase.APPLIED) and not state.failed and not state.away


@dataclass(frozen=True)
class _Decision:
    plan: WavePlan
    states: Mapping[HostName, TargetState]
    soaks: Mapping[HostName, timedelta]
    now: datetime

    def moves(self) -> tuple[Move, ...]:
        steps = tuple(dict.fromkeys(self._steps()))  # a failed host also goes back with its wave
        if steps:
            return steps
        ending = self._ending()
        return (ending,) if ending else (self._wait(),)

    def _steps(self) -> Iterator[Step]:
        if self._is_committed():
            yield from self._finish()
        elif self._going_back():
            yield from self._revert(self.plan.waves)
        elif self._is_broken():
            yield from self._pause()
        elif not self._is_cancelled():
            yield from self._forward()

    # What the states mean together

    def _is_committed(self) -> bool:
        if any(state.phase in COMMITTED for state in self.states.values()):
            return True
        if self._going_back() or self._is_broken() or self._is_cancelled():
            return False
        return all(self._settled(host) and not self.states[host].running for host in self.states)

    def _is_cancelled(self) -> bool:
        """Whether the rollout ends before it touched anything."""
        untouched = all(s.phase in (Phase.WAITING, Phase.PREPARED) for s in self.states.values())
        return untouched and (self.plan.revert or any(s.failed for s in self.states.values()))

    def _is_broken(self) -> bool:
        failures = sum(state.failed for state in self.states.values())
        return failures > self.plan.max_failures or failures == len(self.states) > 0

    def _going_back(self) -> bool:
        """Whether all touched hosts go back. A rollout that began to go back continues to."""
        if self.plan.revert:
            return True
        if self.plan.rollback or self.plan.on_failure != "revert_all":
            return False
        back = any(s.phase in (Phase.REVERTING, Phase.REVERTED) and not s.failed for s in self.states.values())
        return back or (self._is_broken() and not self._is_cancelled())

    def _settled(self, host: HostName) -> bool:
        """Whether the host has the release for good, or failed and is where it stays."""
        state = self.states[host]
        if state.failed:
            return not state.touched or self.plan.rollback
        return self._is_good(host)

    def _is_good(self, host: HostName) -> bool:
        phase = self.states[host].phase
        return phase is Phase.SOAKED or (phase is Phase.VERIFIED and not self.soaks[host])

    def _touched_waves(self) -> list[Wave]:
        untouched = (Phase.WAITING, Phase.PREPARED)
        return [w for w in self.plan.waves if any(self.states[h].phase not in untouched for h in w.targets)]

    # Steps

    def _forward(self) -> Iterator[Step]:
        yield from self._bounded(Act.PREPARE, self._in(Phase.WAITING), self.plan.parallel)
        yield from self._revert_failed()
        yield from self._complete()
        prepared = all(s.phase is not Phase.WAITING or s.away or s.failed for s in self.states.values())
        if prepared and not self._too_many_away():
            yield from self._apply()

    def _pause(self) -> Iterator[Step]:
        yield from self._revert_failed()
        if self.plan.on_failure == "revert_wave" and not self.plan.rollback:
            yield from self._revert(self._touched_waves()[-1:])
        else:
            yield from self._complete()

    def _complete(self) -> Iterator[Step]:
        """Touched hosts get an answer: what was applied is verified, and a step that was cut off is done again."""
        cut_off = self._in(Phase.APPLYING)
        yield from self._bounded(Act.APPLY, cut_off, len(cut_off))
        yield from self._verify()

    def _apply(self) -> Iterator[Step]:
        for number, wave in enumerate(self.plan.waves):
            if wave.approve and number not in self.plan.approved:
                return
            states = {host: self.states[host] for host in wave.targets}
            fresh = [h for h, s in states.items() if not s.failed and s.phase in (Phase.PREPARED, Phase.REVERTED)]
            yield from self._bounded(Act.APPLY, fresh, wave.parallel - sum(map(_unanswered, states.values())))
            if not all(self._settled(host) or state.away for host, state in states.items()):
                return

    def _verify(self) -> Iterator[Step]:
        due = self._in(Phase.APPLIED) + [h for h in self._in(Phase.VERIFIED) if self._soak_ends(h) <= self.now]
        yield from self._bounded(Act.VERIFY, [h for h in due if not self._is_good(h)], len(due))

    def _soak_ends(self, host: HostName) -> datetime:
        return (self.states[host].since or self.now) + self.soaks[host]

    def _revert_failed(self) -> Iterator[Step]:
        """Hosts that go back on their own: the release failed there, or they had begun to."""
        states = self.states.items()
        back = [host for host, state in states if state.phase is Phase.REVERTING]
        if not self.plan.rollback:
            back += [h for h, s in states if s.failed and s.touched and s.phase is not Phase.REVERTING]
        yield from self._bounded(Act.REVERT, back, len(back))

    def _revert(self, waves: Sequence[Wave]) -> Iterator[Step]:
        """The last wave first, its last host first; a wave begins when all hosts after it are back or away."""
        for wave in reversed(waves):
            touched = [host for host in reversed(wave.targets) if self.states[host].touched]
            under_way = sum(self.states[host].running for host in touched)
            yield from self._bounded(Act.REVERT, touched, wave.parallel - under_way)
            if any(not self.states[host].away for host in touched):
                return

    def _finish(self) -> Iterator[Step]:
        phases = (Phase.SOAKED, Phase.VERIFIED, Phase.FINISHING)
        due = [host for host, state in self.states.items() if state.phase in phases and not state.failed]
        running = sum(self.states[host].running for host in due)
        yield from self._bounded(Act.FINISH, due, self.plan.parallel - running)

    def _bounded(self, act: Act, hosts: Iterable[HostName], room: int) -> Iterator[Step]:
        ready = [host for host in hosts if self.states[host].ready(self.now)]
        if act is Act.PREPARE:
            room -= sum(s.running for s in self.states.values() if s.phase is Phase.WAITING)
        for host in ready[: max(room, 0)]:
            yield Step(act, host)

    def _in(self, phase: Phase) -> list[HostName]:
        return [host for host, state in self.states.items() if state.phase is phase and not state.failed]

    # No step

    def _ending(self) -> End | None:
        states = self.states.values()
        if any(state.running for state in states):
            return None
        failed = tuple(host for host, state in self.states.items() if state.failed)
        if self._is_committed():
            unfinished = any(s.phase is not Phase.FINISHED and not s.failed for s in states)
            return None if unfinished else End(self._ended_as(Ending.SUCCEEDED), failed)
        if self._is_cancelled():
            return End(Ending.CANCELLED, failed)
        if (self._going_back() or self._is_broken()) and not any(state.touched for state in states):
            return End(self._ended_as(Ending.REVERTED), failed)
        return None

    def _ended_as(self, ending: Ending) -> Ending:
        return Ending.STUCK if any(s.phase is Phase.STUCK for s in self.states.values()) else ending

    def _wait(self) -> Wait:
        times = [s.retry_at for s in self.states.values() if s.retry_at and not s.running]
        times += [self._soak_ends(h) for h in self._in(Phase.VERIFIED) if not self._is_good(h)]
        later = [time for time in times if time > self.now]
        return Wait(min(later, default=None), self._reason())

    def _reason(self) -> str:
        if any(state.running for state in self.states.values()):
            return "Steps are running."
        if self._going_back():
            return "Hosts that have to go back do not answer."
        if self._is_broken():
            return "Too many hosts failed: revert, or raise max_failures to continue."
        away = [host for host, state in self.states.items() if state.away]
        if away:
            return f"Hosts do not answer: {', '.join(away)}."
        if any(not self._is_good(host) for host in self._in(Phase.VERIFIED)):
            return "A wave soaks."
        return "A wave waits for approval."

    def _too_many_away(self) -> bool:
        return sum(state.away for state in self.states.values()) > self.plan.max_unreachable
