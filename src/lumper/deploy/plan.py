"""From the desired release and the observed containers to the steps between them. Pure.

What a container of the service can be:

    trial      proves the image on loopback while the release before holds the real ports
    new        final, not accepted: has its real ports but has not proved healthy yet
    accepted   final, proved healthy: it serves, or did until it was stopped

A plan is made from what is observed and nothing else, so that a rollout which was cut off at any step is simply planned
again. Two things tell where it was: a stopped accepted container beside a trial was stopped by the rollout (the trial
is removed last), and a container that is not accepted never served.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, field
from enum import StrEnum

from lumper.errors import ReleaseRefused
from lumper.model.deployment import Container, Release


class Slot(StrEnum):
    """A container that the plan itself starts."""

    TRIAL = "trial"
    NEW = "new"


Target = Slot | Container


@dataclass(frozen=True)
class Pull:
    """Have the image on the host."""


@dataclass(frozen=True)
class Start:
    """Start a container of the release."""

    slot: Slot


@dataclass(frozen=True)
class Check:
    """Wait until the target is healthy; if it is not, the rollout fails. `accepted`: it proved healthy before."""

    target: Target
    accepted: bool = False


@dataclass(frozen=True)
class Accept:
    """Keep the target running from now on."""

    target: Target


@dataclass(frozen=True)
class Stop:
    """Ask the container to end."""

    container: Container


@dataclass(frozen=True)
class Restart:
    """Start the stopped container of an earlier release again."""

    container: Container


@dataclass(frozen=True)
class Remove:
    """Remove a container, running or not."""

    target: Target


@dataclass(frozen=True)
class Prune:
    """Remove the images of older releases, all but these digests."""

    keep: frozenset[str]


Step = Pull | Start | Check | Accept | Stop | Restart | Remove | Prune


@dataclass(frozen=True)
class Plan:
    """The steps in their order.

    `running` is the container that is the release already; `before` what serves, or served last, beside it.
    """

    steps: tuple[Step, ...]
    running: Container | None = None
    before: Container | None = None


@dataclass(frozen=True)
class _Scene:
    """The observed containers, sorted by what they are."""

    trials: list[Container] = field(default_factory=list)
    new: list[Container] = field(default_factory=list)
    accepted: list[Container] = field(default_factory=list)

    @staticmethod
    def of(observed: Iterable[Container]) -> _Scene:
        scene = _Scene()
        for container in observed:
            kind = scene.accepted if container.accepted else scene.new
            (kind if container.final else scene.trials).append(container)
        scene.accepted.sort(key=lambda c: (c.up, c.generation), reverse=True)
        return scene

    @property
    def before(self) -> Container | None:
        """What serves or, if nothing does, served last."""
        return self.accepted[0] if self.accepted else None


def plan_rollout(release: Release, observed: Sequence[Container], failed: Set[str] = frozenset()) -> Plan:
    """The way from the observed containers of the service to the release.

    `failed` are the ids of containers that were checked in vain since.
    Raises ReleaseRefused if a newer generation was accepted: then this is a late repetition of an old order.
    """
    _refuse_if_overtaken(release, observed)
    scene = _Scene.of(observed)
    current = [c for c in scene.accepted if c.up and is_release(c, release) and c.id not in failed]
    if current:
        return _keep(release, scene, current[0])
    half = [c for c in scene.new if c.up and is_release(c, release) and c.generation == release.generation]
    if half:
        return _complete(release, scene, half[0])
    before = scene.before
    if before is None or not before.up:
        return _replace_stopped(release, scene)
    if _share_ports(release, before):
        return _replace_by_trial(release, scene, before)
    return _replace_alongside(release, scene, before)


def plan_rollback(observed: Sequence[Container], failed: Set[str] = frozenset()) -> Plan:
    """After a failure: remove what is not accepted or is among `failed`, and let the release before serve again.

    What was accepted and fails is kept if there is nothing to take its place.
    """
    scene = _Scene.of(observed)
    good = [c for c in scene.accepted if c.id not in failed]
    replaced = [c for c in scene.accepted if c.id in failed] if good else []
    before = good[0] if good else scene.before
    steps: list[Step] = [Remove(c) for c in (*scene.new, *replaced)]
    if before is not None and not before.up and (scene.trials or replaced):
        steps.append(Restart(before))
        if good:
            steps.append(Check(before, accepted=True))
    return Plan((*steps, *(Remove(c) for c in scene.trials)), before=before)


def is_release(container: Container, release: Release) -> bool:
    """Whether the container has the release's digest and configuration."""
    return (container.digest, container.config_hash) == (release.digest, release.service.config_hash)


def _refuse_if_overtaken(release: Release, observed: Iterable[Container]) -> None:
    newest = max((c for c in observed if c.final and c.accepted), key=lambda c: c.generation, default=None)
    if newest is not None and newest.generation > release.generation:
        raise ReleaseRefused(
            f"Generation {newest.generation} of {release.service.name} is here already; "
            f"generation {release.generation} comes too late and was left alone.",
            hint=f"If that container is a stranger, remove it: docker rm -f {newest.id[:12]}",
        )


def _keep(release: Release, scene: _Scene, current: Container) -> Plan:
    others = [c for c in scene.accepted if c is not current]
    steps: list[Step] = [Check(current, accepted=True), *(Remove(c) for c in scene.new), *_retire(scene, others)]
    return Plan((*steps, *_prune(release, others)), running=current, before=others[0] if others else None)


def _complete(release: Release, scene: _Scene, half: Container) -> Plan:
    steps: list[Step] = [Remove(c) for c in scene.new if c is not half]
    steps += [Check(half), Accept(half), *_retire(scene, scene.accepted)]
    return Plan((*steps, *_prune(release, scene.accepted)), running=half, before=scene.before)


def _replace_stopped(release: Release, scene: _Scene) -> Plan:
    """Nothing serves: no trial, so that something does as soon as possible. Old trials go last: they are the mark."""
    steps: list[Step] = [Pull(), *(Remove(c) for c in scene.new)]
    steps += [Start(Slot.NEW), Check(Slot.NEW), Accept(Slot.NEW), *_retire(scene, scene.accepted)]
    return Plan((*steps, *_prune(release, scene.accepted)), before=scene.before)


def _replace_alongside(release: Release, scene: _Scene, before: Container) -> Plan:
    steps: list[Step] = [Pull(), *_clean(scene, before)]
    steps += [Start(Slot.NEW), Check(Slot.NEW), Accept(Slot.NEW), Stop(before), Remove(before)]
    return Plan((*steps, *_prune(release, [before])), before=before)


def _replace_by_trial(release: Release, scene: _Scene, before: Container) -> Plan:
    """A host port has one holder: the image proves itself elsewhere first, then the port changes hands."""
    steps: list[Step] = [Pull(), *_clean(scene, before), Start(Slot.TRIAL), Check(Slot.TRIAL), Stop(before)]
    steps += [Start(Slot.NEW), Check(Slot.NEW), Accept(Slot.NEW), Remove(before)]
    return Plan((*steps, Remove(Slot.TRIAL), *_prune(release, [before])), before=before)


def _clean(scene: _Scene, before: Container) -> list[Step]:
    """What a cut-off rollout left beside the one that serves."""
    steps: list[Step] = [Remove(c) for c in (*scene.trials, *scene.new)]
    return steps + _remove_gently([c for c in scene.accepted if c is not before])


def _retire(scene: _Scene, accepted: Sequence[Container]) -> list[Step]:
    return [*_remove_gently(accepted), *(Remove(c) for c in scene.trials)]


def _remove_gently(accepted: Iterable[Container]) -> list[Step]:
    steps: list[Step] = []
    for container in accepted:
        steps += [Stop(container), Remove(container)] if container.up else [Remove(container)]
    return steps


def _prune(release: Release, before: Sequence[Container]) -> list[Step]:
    """Keep the release and the one before it; who does not know the one before must not remove anything."""
    return [Prune(frozenset({release.digest, before[0].digest}))] if before else []


def _share_ports(release: Release, holder: Container) -> bool:
    held = {(port.host, port.protocol) for port in holder.ports}
    return any(port.host and (port.host, port.protocol) in held for port in release.service.ports)
