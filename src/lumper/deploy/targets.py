"""How far each host of a rollout is. Pure.

    waiting → prepared → applying → applied → verified → soaked → finishing → finished
                            └───────────┴─────────┴─────────┴──→ reverting → reverted | stuck

A phase that ends in -ing is written down before the step, because the step may have changed the host even if its
outcome is never heard. A rollout continues from these states alone: `running` is false after a restart, and the step
of the phase is done again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

_FIRST_RETRY = timedelta(seconds=1)
_LONGEST_RETRY = timedelta(seconds=60)
_MOST_DOUBLINGS = 10


class Phase(StrEnum):
    """How far a host is. `stuck`: reverting failed, a person has to look."""

    WAITING = "waiting"
    PREPARED = "prepared"
    APPLYING = "applying"
    APPLIED = "applied"
    VERIFIED = "verified"
    SOAKED = "soaked"
    FINISHING = "finishing"
    FINISHED = "finished"
    REVERTING = "reverting"
    REVERTED = "reverted"
    STUCK = "stuck"


class Act(StrEnum):
    """A step on one host: the verbs of the driver port."""

    PREPARE = "prepare"
    APPLY = "apply"
    VERIFY = "verify"
    REVERT = "revert"
    FINISH = "finish"


class Outcome(StrEnum):
    """How a step ended. `failed`: because of the release; `unreachable`: nothing is known of the release."""

    DONE = "done"
    FAILED = "failed"
    UNREACHABLE = "unreachable"


TOUCHED = frozenset({Phase.APPLYING, Phase.APPLIED, Phase.VERIFIED, Phase.SOAKED, Phase.REVERTING})
"""The host may run the new release, and can go back to the old one."""

COMMITTED = frozenset({Phase.FINISHING, Phase.FINISHED})
"""The old release may be gone."""

_INTENT = {Act.APPLY: Phase.APPLYING, Act.REVERT: Phase.REVERTING, Act.FINISH: Phase.FINISHING}
_DONE: Mapping[tuple[Act, Phase], Phase] = {
    (Act.PREPARE, Phase.WAITING): Phase.PREPARED,
    (Act.APPLY, Phase.APPLYING): Phase.APPLIED,
    (Act.VERIFY, Phase.APPLIED): Phase.VERIFIED,
    (Act.VERIFY, Phase.VERIFIED): Phase.SOAKED,
    (Act.REVERT, Phase.REVERTING): Phase.REVERTED,
    (Act.FINISH, Phase.FINISHING): Phase.FINISHED,
}


@dataclass(frozen=True)
class TargetState:
    """One host of a rollout.

    `since` is when the phase began. `failed` tells that the release is no good here, `error` why. A host that does
    not answer is `away` until its next step succeeds; it is tried again at `retry_at`.
    """

    phase: Phase = Phase.WAITING
    since: datetime | None = None
    running: bool = False
    failed: bool = False
    error: str = ""
    away: bool = False
    tries: int = 0
    retry_at: datetime | None = None

    @property
    def touched(self) -> bool:
        """Whether the host may run the new release, and can go back."""
        return self.phase in TOUCHED

    def ready(self, now: datetime) -> bool:
        """Whether a step may begin: none is running, and an unreachable host has had its pause."""
        return not self.running and (self.retry_at is None or now >= self.retry_at)


def begun(state: TargetState, act: Act, now: datetime) -> TargetState:
    """The state to write down before the step."""
    phase = _INTENT.get(act, state.phase)
    since = now if phase is not state.phase else state.since
    return replace(state, phase=phase, since=since, running=True, retry_at=None)


def ended(state: TargetState, act: Act, outcome: Outcome, now: datetime, error: str = "") -> TargetState:
    """The state to write down after the step."""
    if outcome is Outcome.UNREACHABLE:
        pause = min(_FIRST_RETRY * 2 ** min(state.tries, _MOST_DOUBLINGS), _LONGEST_RETRY)
        return replace(state, running=False, away=True, tries=state.tries + 1, retry_at=now + pause, error=error)
    answered = replace(state, running=False, away=False, tries=0, retry_at=None)
    if outcome is Outcome.DONE:
        error = state.error if state.failed else ""
        return replace(answered, phase=_DONE[act, state.phase], since=now, error=error)
    if act is Act.REVERT:  # never a roll-back of a roll-back
        return replace(answered, phase=Phase.STUCK, since=now, failed=True, error=error)
    if act is Act.FINISH:  # the new release serves; only tidying failed
        return replace(answered, phase=Phase.FINISHED, since=now, error=error)
    return replace(answered, failed=True, error=error)
