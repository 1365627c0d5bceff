"""What a rollout tells: its result, its journal, and which errors come out of it."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from typing import Any

import pytest

from lumper.deploy.hosts.memory import Image, MemoryHost
from lumper.deploy.port import Login
from lumper.deploy.rollout import RolloutResult, observe, roll_out
from lumper.errors import HostUnavailable
from lumper.model.deployment import Health, Port, Release, RolloutState, Service
from parts.suite.eventually import eventually

QUICK = Health(http="/", port=8080, interval=0.001, timeout=0.005, stable=0)
SHOP = Service("shop", ports=(Port(8080, 80),), health=QUICK)


class Trial:
    """A memory host and everything that was written into the journal."""

    def __init__(self) -> None:
        self.host = MemoryHost()
        self.lines: list[str] = []
        self.asked: list[str] = []
        self.login: Login | None = None

    def release(self, generation: int, image: Image | None = Image(), **settings: Any) -> Release:  # noqa: B008 - frozen
        service = replace(SHOP, **settings)
        digest = f"sha256:{generation:064x}"
        release = Release(service, "registry/shop", digest, generation, f"v0.0.{generation}")
        if image is not None:
            self.host.images[release.reference] = image
        return release

    async def run(self, release: Release) -> RolloutResult:
        self.lines.clear()

        async def credentials(image: str) -> Login | None:
            self.asked.append(image)
            return self.login

        async def journal(line: str) -> None:
            self.lines.append(line)

        return await roll_out(self.host, release, credentials=credentials, journal=journal)


@pytest.fixture
def trial() -> Trial:
    return Trial()


async def test_the_journal_tells_every_step_with_its_milliseconds(trial: Trial) -> None:
    await trial.run(trial.release(1))
    await trial.run(second := trial.release(2))
    told = [re.sub(r"\d+ ms", "N ms", line) for line in trial.lines]
    new, old = "shop generation 2 (v0.0.2)", "shop generation 1 (v0.0.1)"
    healthy = "is healthy (GET / at port 8080 answered 200) in N ms"
    assert told == [
        f"pulled {second.reference} in N ms",
        f"started the trial of {new} at 127.0.0.1:49152 in N ms",
        f"the trial of {new} {healthy}",
        f"stopped {old} in N ms",
        f"started {new} at 127.0.0.1:80 in N ms",
        f"{new} {healthy}",
        f"{new} is accepted in N ms",
        f"removed {old} in N ms",
        f"removed the trial of {new} in N ms",
    ]


async def test_a_release_that_runs_already_is_said_to(trial: Trial) -> None:
    await trial.run(first := trial.release(1))
    result = await trial.run(first)
    assert result.state is RolloutState.SUCCEEDED
    assert trial.lines[-1] == "shop generation 1 (v0.0.1) already runs"


async def test_a_failure_tells_the_reason_what_runs_now_and_the_last_lines(trial: Trial) -> None:
    await trial.run(trial.release(1))
    output = "".join(f"line {number}\n" for number in range(100)) + "\x1b[2Jno config\n" + "x" * 9000
    result = await trial.run(trial.release(2, Image(exits=3, output=output)))
    sentence, _, words = result.error.partition("\nThe last lines of the new container:\n")
    assert sentence == (
        "shop generation 2 (v0.0.2) did not become healthy. It ended with exit code 3. "
        "shop generation 1 (v0.0.1) runs, as before."
    )
    lines = words.splitlines()
    assert len(lines) == 20
    assert lines[-2] == "  \N{REPLACEMENT CHARACTER}[2Jno config"
    assert len(lines[-1]) <= 502
    assert result.hint
    assert result.container is not None
    assert result.container.generation == 1
    assert "failed: It ended with exit code 3." in trial.lines


async def test_a_failing_first_release_leaves_nothing_and_says_so(trial: Trial) -> None:
    result = await trial.run(trial.release(1, Image(exits=1)))
    assert result.container is None
    assert "Nothing of this service runs now." in result.error
    assert await trial.host.containers() == []


async def test_an_image_that_cannot_be_pulled_is_a_failure_with_a_hint(trial: Trial) -> None:
    result = await trial.run(trial.release(1, image=None))
    assert result.state is RolloutState.FAILED
    assert "is not in the registry" in result.error
    assert result.hint == "Build the tag again."


async def test_the_credentials_for_the_image_are_used(trial: Trial) -> None:
    trial.login = Login("puller", "secret")
    result = await trial.run(trial.release(1, Image(login=Login("puller", "secret"))))
    assert result.state is RolloutState.SUCCEEDED
    assert set(trial.asked) == {"registry/shop"}


async def test_a_port_that_a_stranger_has_fails_without_a_trace(trial: Trial) -> None:
    trial.host.taken.add(80)
    result = await trial.run(trial.release(1))
    assert "port 80 is already allocated" in result.error
    assert await trial.host.containers() == []


async def test_an_old_release_that_does_not_come_back_is_told(trial: Trial) -> None:
    await trial.run(trial.release(1))

    def take_the_port(change: str) -> None:
        if change == "stop":
            trial.host.taken.add(80)  # a stranger was quicker

    trial.host.on_change = take_the_port
    result = await trial.run(trial.release(2))
    assert "The release before did not come back: " in result.error
    assert "Nothing of this service runs now." in result.error
    (old,) = await trial.host.containers()
    assert old.generation == 1


async def test_a_running_release_that_is_broken_is_replaced_when_it_is_ordered_again(trial: Trial) -> None:
    await trial.run(first := trial.release(1))
    (broken,) = await trial.host.containers()
    trial.host.set_image(broken.id, Image(http=500))
    result = await trial.run(first)
    assert result.state is RolloutState.SUCCEEDED
    (fresh,) = await trial.host.containers()
    assert fresh.id != broken.id
    assert any("is broken" in line for line in trial.lines)


@pytest.mark.parametrize("fresh", [Image(http=500), Image(trials_only=True)])
async def test_a_running_release_that_is_broken_stays_if_a_fresh_one_is_broken_too(trial: Trial, fresh: Image) -> None:
    await trial.run(first := trial.release(1))
    (broken,) = await trial.host.containers()
    trial.host.set_image(broken.id, Image(http=500))
    trial.host.images[first.reference] = fresh
    result = await trial.run(first)
    assert result.state is RolloutState.FAILED
    assert [(c.id, c.up) for c in await trial.host.containers()] == [(broken.id, True)]


async def test_only_the_release_and_the_one_before_keep_their_images(trial: Trial) -> None:
    releases = [trial.release(generation) for generation in range(1, 5)]
    for release in releases:
        await trial.run(release)
    assert trial.host.pulled == [release.reference for release in releases[2:]]
    assert re.match(r"removed 1 old images? in \d+ ms", trial.lines[-1])


async def test_a_host_that_cannot_be_reached_is_the_callers_to_try_again(trial: Trial) -> None:
    trial.host.reachable = False
    with pytest.raises(HostUnavailable):
        await trial.run(trial.release(1))


async def test_a_host_that_goes_away_halfway_is_gone_on_with_later(trial: Trial) -> None:
    await trial.run(trial.release(1))

    def lose(change: str) -> None:
        trial.host.reachable = change != "stop"

    trial.host.on_change = lose
    with pytest.raises(HostUnavailable):
        await trial.run(second := trial.release(2))
    trial.host.reachable, trial.host.on_change = True, lambda change: None
    assert (await trial.run(second)).state is RolloutState.SUCCEEDED
    (left,) = await observe(trial.host)
    assert left.generation == 2


async def test_a_cancelled_rollout_is_gone_on_with_later(trial: Trial) -> None:
    await trial.run(trial.release(1))
    waits = Health(http="/", port=8080, interval=0.001, timeout=3600)
    slow = trial.release(2, Image(http=503), health=waits)
    running = asyncio.create_task(trial.run(slow))

    async def both_are_there() -> bool:
        return len(await observe(trial.host)) == 2

    await eventually(both_are_there)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    trial.host.images[slow.reference] = Image()
    assert (await trial.run(slow)).state is RolloutState.SUCCEEDED
    assert [c.generation for c in await observe(trial.host)] == [2]


async def test_all_services_of_a_host_are_observed_in_order(trial: Trial) -> None:
    await trial.run(trial.release(1))
    await trial.run(trial.release(2, name="api", ports=()))
    assert [(c.service, c.generation) for c in await observe(trial.host)] == [("api", 2), ("shop", 1)]
