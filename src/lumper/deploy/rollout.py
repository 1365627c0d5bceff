"""Carrying out a plan on one host: step by step, with a journal for people, and back again where it fails."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import assert_never

from lumper.deploy import plan as plans
from lumper.deploy.health import wait_until_healthy
from lumper.deploy.plan import Plan, Slot, Step, Target
from lumper.deploy.port import Credentials, Host
from lumper.errors import DeployError, HostUnavailable, ReleaseRefused, ReleaseUnhealthy
from lumper.model.deployment import Container, Release, RolloutState

Journal = Callable[[str], Awaitable[None]]
"""Takes one short sentence of what was just done."""

_LOG_LINES = 20
_LINE_LENGTH = 500


@dataclass(frozen=True)
class RolloutResult:
    """How a rollout ended. `container` is what serves now, if that is known; `error` ends with the last lines of the
    container that failed."""

    state: RolloutState
    error: str = ""
    hint: str = ""
    container: Container | None = None


class _StepFailed(Exception):
    """A step failed because of the release. `container` is the one to blame, if one was started already."""

    def __init__(self, error: DeployError, container: Container | None, *, accepted: bool) -> None:
        super().__init__(str(error))
        self.error = error
        self.container = container
        self.accepted = accepted


async def observe(host: Host) -> tuple[Container, ...]:
    """All containers of Lumper's on the host, by service and generation, trials last. Raises HostUnavailable."""
    found = await host.containers()
    return tuple(sorted(found, key=lambda c: (c.service, not c.final, c.generation, c.id)))


async def roll_out(host: Host, release: Release, *, credentials: Credentials, journal: Journal) -> RolloutResult:
    """Let the host run the release, or what it ran before if the release is no good.

    May be cut off at any moment and be called again: it goes on from what it finds. One call at a time for a service.
    Raises HostUnavailable: call again later.
    """
    return await _Rollout(host, release, credentials, journal).run()


@dataclass
class _Rollout:
    host: Host
    release: Release
    credentials: Credentials
    journal: Journal
    started: dict[Slot, Container] = field(default_factory=dict)
    accepted: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)

    async def run(self) -> RolloutResult:
        plan = Plan(())
        try:
            plan = await self._plan()
            await self._execute(plan.steps)
        except ReleaseRefused as exc:  # overtaken: what is there belongs to a later rollout
            await self.journal(str(exc))
            return RolloutResult(RolloutState.FAILED, str(exc), exc.hint)
        except _StepFailed as exc:
            if exc.accepted and exc.container is not None:
                self.failed.add(exc.container.id)
                if plan.before is None:
                    await self.journal(f"{self._name(exc.container)} is broken and will be replaced: {exc}")
                    return await self.run()
            return await self._give_up(exc)
        return await self._succeeded(plan)

    async def _plan(self) -> Plan:
        observed = await self.host.containers(self.release.service.name)
        return plans.plan_rollout(self.release, observed, self.failed)

    async def _succeeded(self, plan: Plan) -> RolloutResult:
        container = await self.host.inspect((plan.running or self.started[Slot.NEW]).id)
        if plan.running and plan.running.accepted:
            await self.journal(f"{_title(plan.running)} already runs")
        return RolloutResult(RolloutState.SUCCEEDED, container=container)

    async def _execute(self, steps: Sequence[Step]) -> None:
        for step in steps:
            try:
                await self._do(step)
            except (ReleaseRefused, ReleaseUnhealthy) as exc:
                target = step.target if isinstance(step, plans.Check | plans.Accept) else None
                accepted = isinstance(step, plans.Check) and step.accepted
                raise _StepFailed(exc, self._find(target) if target else None, accepted=accepted) from exc

    async def _do(self, step: Step) -> None:
        began = time.monotonic()
        words = await self._act(step)
        if words:
            await self.journal(f"{words} in {(time.monotonic() - began) * 1000:.0f} ms")

    async def _act(self, step: Step) -> str:
        """Do the step; what was done, in words that "in 12 ms" can follow."""
        match step:
            case plans.Pull():
                await self._pull()
                return f"pulled {self.release.reference}"
            case plans.Start(slot):
                await self._pull()  # quick when it is there; a build on the same engine may have dropped the name
                self.started[slot] = await self.host.start(self.release, trial=slot is Slot.TRIAL)
                return f"started {self._name(slot)}{_where(self.started[slot])}"
            case plans.Check(target, accepted):
                return await self._check(self._find(target), accepted)
            case plans.Accept(target):
                return await self._accept(self._find(target))
            case plans.Stop(container):
                await self.host.stop(container.id, self.release.service.stop_timeout)
                return f"stopped {self._name(container)}"
            case plans.Restart(container):
                await self.host.restart(container.id)
                return f"started {self._name(container)} again"
            case plans.Remove(target):
                await self.host.remove(self._find(target).id)
                return f"removed {self._name(target)}"
            case plans.Prune(keep):
                removed = await self.host.prune(self.release.image, keep)
                return f"removed {len(removed)} old image{'s' * (len(removed) > 1)}" if removed else ""
            case _:
                assert_never(step)

    async def _pull(self) -> None:
        await self.host.pull(self.release, await self.credentials(self.release.image))

    async def _check(self, container: Container, accepted: bool) -> str:
        service = self.release.service
        if accepted and not plans.is_release(container, self.release):  # its own health check is not known any more
            service = replace(service, health=replace(service.health, http="", command=()))
        words = await wait_until_healthy(self.host, container, service)
        return f"{self._name(container)} is healthy ({words})"

    async def _accept(self, container: Container) -> str:
        self.accepted.add(container.id)
        await self.host.accept(container.id)
        seen = await self.host.inspect(container.id)
        if seen is None or not seen.up:
            raise ReleaseUnhealthy("It ended just after it had been healthy.")
        return f"{self._name(container)} is accepted"

    async def _give_up(self, failure: _StepFailed) -> RolloutResult:
        container = failure.container
        lines = await self._last_lines(container) if container else ()
        await self.journal(f"failed: {failure}")
        serving, trouble = await self._roll_back()
        broken = [f"{_title(container)} did not become healthy."] if container else []
        error = " ".join((*broken, str(failure), *trouble, _outcome(serving)))
        if lines:
            error += "\nThe last lines of the new container:\n" + "\n".join(f"  {line}" for line in lines)
        hint = failure.error.hint or "Mend it and push a new tag."
        return RolloutResult(RolloutState.FAILED, error, hint, serving)

    async def _roll_back(self) -> tuple[Container | None, list[str]]:
        """Undo; what serves now, and the troubles on the way."""
        observed = await self.host.containers(self.release.service.name)
        observed = [replace(c, accepted=c.accepted and c.id not in self.accepted) for c in observed]
        plan = plans.plan_rollback(observed, self.failed)
        trouble: list[str] = []
        for step in plan.steps:
            if trouble and isinstance(step, plans.Check):
                continue  # it was not even started
            try:
                await self._do(step)
            except HostUnavailable:
                raise
            except DeployError as exc:
                trouble.append(f"The release before did not come back: {exc}")
                await self.journal(trouble[-1])
        before = await self.host.inspect(plan.before.id) if plan.before else None
        return (before if before and before.up else None), trouble

    async def _last_lines(self, container: Container) -> list[str]:
        text = await self.host.logs(container.id, _LOG_LINES)
        return [_plain(line) for line in text.splitlines()[-_LOG_LINES:]]

    def _find(self, target: Target) -> Container:
        return self.started[target] if isinstance(target, Slot) else target

    def _name(self, target: Target) -> str:
        container = self._find(target)
        return ("the trial of " if not container.final else "") + _title(container)


def _title(container: Container) -> str:
    version = f" ({container.version})" if container.version else ""
    return f"{container.service} generation {container.generation}{version}"


def _where(container: Container) -> str:
    ports = ", ".join(f"{port.address}:{port.host}" for port in container.ports if port.host)
    return f" at {ports}" if ports else ""


def _outcome(serving: Container | None) -> str:
    return f"{_title(serving)} runs, as before." if serving else "Nothing of this service runs now."


def _plain(line: str) -> str:
    """The line without what a terminal would obey, at a length that a mail bears."""
    text = "".join(c if c.isprintable() or c == "\t" else "\N{REPLACEMENT CHARACTER}" for c in line)
    return text if len(text) <= _LINE_LENGTH else text[: _LINE_LENGTH - 1] + "…"
