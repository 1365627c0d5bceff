"""A deployer with a host that only remembers: what it does with a rollout, and what it tells the server."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from lumper.deploy.hosts.memory import Image, MemoryHost
from lumper.deploy.port import Login
from lumper.model.deployment import Health, Port, Release, RolloutState, Service
from lumper.model.events import (
    DEPLOY,
    EVENTS,
    CancelBuild,
    HostObserved,
    RolloutJob,
    RolloutProgress,
)
from lumper.queue.brokers.memory import MemoryBroker
from lumper.roles.deployer import Deployer
from parts.line.running import Ear, listening, message, running
from parts.suite.eventually import eventually

SERVICE = Service("app", ports=(Port(8080),), health=Health(http="/", port=8080, interval=0.01, timeout=0.1, stable=0))
LOGIN = Login("deployer", "t")
ENDS = (RolloutState.SUCCEEDED, RolloutState.FAILED)


@pytest.fixture
def broker() -> MemoryBroker:
    return MemoryBroker()


@pytest.fixture
def host() -> MemoryHost:
    return MemoryHost()


async def credentials(_: str) -> Login:
    return LOGIN


def job(host: MemoryHost, number: int, image: Image | None = None) -> RolloutJob:
    """A rollout of the service's n-th release, whose image the host can pull."""
    release = Release(SERVICE, "127.0.0.1:5080/owner/app", f"sha256:{number:064x}", number, f"v{number}")
    host.images[release.reference] = image or Image(login=LOGIN)
    return RolloutJob(number, release)


async def give(broker: MemoryBroker, *jobs: RolloutJob) -> None:
    await broker.publish([message(each, DEPLOY, each.rollout_id) for each in jobs])


def ends(ear: Ear) -> list[RolloutProgress]:
    return [each for each in ear.of(RolloutProgress) if each.state in ENDS]


def journal(ear: Ear, rollout: int) -> list[str]:
    """The journal as the server puts it together."""
    lines: list[str] = []
    for event in ear.of(RolloutProgress):
        if event.rollout_id == rollout:
            assert event.position <= len(lines)
            lines = [*lines[: event.position], *event.lines]
    return lines


async def ended(ear: Ear, count: int = 1) -> list[RolloutProgress]:
    await ear.until_true(lambda: len(ends(ear)) >= count)
    return ends(ear)


async def test_a_rollout_is_told_from_its_beginning_to_its_end(broker: MemoryBroker, host: MemoryHost) -> None:
    await give(broker, job(host, 1))
    async with listening(broker, EVENTS) as ear, running(Deployer(broker, host, credentials).run()):
        [end] = await ended(ear)
    assert (end.rollout_id, end.state, end.error) == (1, RolloutState.SUCCEEDED, "")
    assert ear.of(RolloutProgress)[0].state is RolloutState.RUNNING
    lines = journal(ear, 1)
    assert lines[0].startswith("pulled 127.0.0.1:5080/owner/app@sha256:")
    assert end.position == len(lines) > 2


async def test_what_runs_is_told_before_the_rollout_ends(broker: MemoryBroker, host: MemoryHost) -> None:
    await give(broker, job(host, 1))
    async with listening(broker, EVENTS) as ear, running(Deployer(broker, host, credentials).run()):
        await ended(ear)
        before_the_end = ear.heard[: ear.heard.index(ends(ear)[0])]
    observed = [each for each in before_the_end if isinstance(each, HostObserved)][-1]
    [container] = observed.containers
    assert (observed.host, container.service, container.version, container.accepted) == ("memory", "app", "v1", True)


async def test_a_release_that_is_not_healthy_fails_and_the_one_before_stays(
    broker: MemoryBroker, host: MemoryHost
) -> None:
    await give(broker, job(host, 1), job(host, 2, Image(http=500, login=LOGIN)))
    async with listening(broker, EVENTS) as ear, running(Deployer(broker, host, credentials).run()):
        good, bad = await ended(ear, 2)
    assert (good.state, bad.state) == (RolloutState.SUCCEEDED, RolloutState.FAILED)
    assert bad.error
    assert [container.version for container in await host.containers("app")] == ["v1"]


async def test_a_job_that_comes_twice_leaves_one_container(broker: MemoryBroker, host: MemoryHost) -> None:
    first = job(host, 1)
    await broker.publish([message(first, DEPLOY, 1), message(first, DEPLOY, 2)])
    async with listening(broker, EVENTS) as ear, running(Deployer(broker, host, credentials).run()):
        states = [end.state for end in await ended(ear, 2)]
    assert states == [RolloutState.SUCCEEDED] * 2
    assert len(await host.containers()) == 1


async def test_a_host_that_is_away_is_waited_for_and_the_journal_says_so(
    broker: MemoryBroker, host: MemoryHost
) -> None:
    host.reachable = False
    await give(broker, job(host, 1))
    async with listening(broker, EVENTS) as ear, running(Deployer(broker, host, credentials).run()):
        await ear.until_true(lambda: any("Trying again in 1 s" in line for line in journal(ear, 1)))
        host.reachable = True
        [end] = await ended(ear)
    assert end.state is RolloutState.SUCCEEDED


async def test_a_mistake_of_ours_ends_the_rollout_and_not_the_deployer(broker: MemoryBroker, host: MemoryHost) -> None:
    def mistake(_: str) -> None:
        host.on_change = lambda change: None
        raise KeyError("ports")

    host.on_change = mistake
    await give(broker, job(host, 1), job(host, 2))
    async with listening(broker, EVENTS) as ear, running(Deployer(broker, host, credentials).run()):
        bad, good = await ended(ear, 2)
    assert (bad.state, good.state) == (RolloutState.FAILED, RolloutState.SUCCEEDED)
    assert "KeyError('ports')" in bad.error
    assert bad.hint


async def test_a_rollout_goes_on_while_the_queue_is_away(broker: MemoryBroker, host: MemoryHost) -> None:
    def cut(_: str) -> None:
        host.on_change = lambda change: None
        broker.interrupt()
        asyncio.get_running_loop().call_later(0.05, broker.resume)

    host.on_change = cut
    await give(broker, job(host, 1))
    async with listening(broker, EVENTS) as ear, running(Deployer(broker, host, credentials).run()):
        [end, *_] = await ended(ear)
        assert end.state is RolloutState.SUCCEEDED

        async def answered() -> bool:
            return await broker.depth(DEPLOY) == 0

        await eventually(answered)
    assert len(await host.containers()) == 1


async def test_a_deployer_that_was_cut_off_goes_on_in_its_next_life(broker: MemoryBroker, host: MemoryHost) -> None:
    patient = replace(SERVICE, health=replace(SERVICE.health, timeout=60.0))
    first = job(host, 1, Image(http=500, login=LOGIN))
    await give(broker, replace(first, release=replace(first.release, service=patient)))
    async with listening(broker, EVENTS) as ear:
        async with running(Deployer(broker, host, credentials).run()):
            await ear.until_true(lambda: any(line.startswith("started") for line in journal(ear, 1)))
        assert ends(ear) == []
        assert await broker.depth(DEPLOY) == 1
        [container] = await host.containers()
        host.set_image(container.id, Image(login=LOGIN))
        async with running(Deployer(broker, host, credentials).run()):
            [end] = await ended(ear)
    assert end.state is RolloutState.SUCCEEDED
    assert len(await host.containers()) == 1


async def test_a_host_is_told_of_only_when_it_changes(broker: MemoryBroker, host: MemoryHost) -> None:
    deployer = Deployer(broker, host, credentials)
    async with listening(broker, EVENTS) as ear, running(deployer.run()):
        await ear.until(HostObserved)
        await give(broker, job(host, 1))
        await ended(ear)
        await ear.until(HostObserved, 2)
    assert [len(each.containers) for each in ear.of(HostObserved)] == [0, 1]


async def test_messages_that_are_no_rollouts_are_done_with(broker: MemoryBroker, host: MemoryHost) -> None:
    await broker.publish([message(CancelBuild(1, 1), DEPLOY, 100)])
    await give(broker, job(host, 1))
    async with listening(broker, EVENTS) as ear, running(Deployer(broker, host, credentials).run()):
        [end] = await ended(ear)
    assert end.rollout_id == 1
