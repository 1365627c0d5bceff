"""A rollout may be killed at any moment: executed again, it ends as if nothing had happened, once.

Every test counts the changes that an undisturbed rollout makes to the host, and is then cut off after each of them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from lumper.deploy.hosts.memory import Image, MemoryHost
from lumper.deploy.port import Login
from lumper.deploy.rollout import RolloutResult, roll_out
from lumper.model.deployment import Container, Health, Port, Release, RolloutState, Service

QUICK = Health(http="/", port=8080, interval=0.001, timeout=0.003, stable=0)
NO_PORTS = Service("shop", health=QUICK)
FIXED = Service("shop", ports=(Port(8080, 80), Port(9090, 0)), health=QUICK)
MOVED = Service("shop", ports=(Port(8080, 81),), health=QUICK)
IMAGES = {
    "good": Image(),
    "crashes": Image(exits=1),
    "deaf": Image(http=None),
    "final crashes": Image(trials_only=True),
    "absent": None,
}


class CutOff(BaseException):
    """What a kill -9 is to the code that runs."""


@dataclass
class Scenario:
    """From what is there to what is wanted."""

    before: Service | None
    wanted: Service
    image: str
    stopped: bool = False
    host: MemoryHost = field(default_factory=MemoryHost)
    old: Container | None = None

    def __str__(self) -> str:
        ports = {"NO": NO_PORTS, "FIXED": FIXED, "MOVED": MOVED}
        names = [next((n for n, s in ports.items() if s == service), "-") for service in (self.before, self.wanted)]
        return f"{names[0]} to {names[1]}, {self.image}{', stopped' * self.stopped}"

    @property
    def succeeds(self) -> bool:
        return self.image == "good"

    @property
    def never_down(self) -> bool:
        """Whether something that was accepted is up all the time."""
        shares = FIXED in (self.before,) and self.wanted == FIXED
        return self.before is not None and not self.stopped and not (shares and self.image in ("good", "final crashes"))

    def release(self, generation: int, service: Service, image: str) -> Release:
        release = Release(service, "registry/shop", f"sha256:{generation:064x}", generation)
        found = IMAGES[image]
        if found is not None:
            self.host.images[release.reference] = found
        return release

    async def prepare(self) -> Release:
        self.host = MemoryHost()
        if self.before is not None:
            result = await run(self.host, self.release(1, self.before, "good"))
            assert result.container is not None
            if self.stopped:
                await self.host.stop(result.container.id, 1)
            self.old = await self.host.inspect(result.container.id)
        return self.release(2, self.wanted, self.image)

    async def assert_end(self, release: Release, result: RolloutResult) -> None:
        """One container: the new one after a success, else the old one as it was."""
        left = await self.host.containers("shop")
        assert result.state is (RolloutState.SUCCEEDED if self.succeeds else RolloutState.FAILED), result.error
        if self.succeeds:
            (new,) = left
            assert (new.digest, new.generation) == (release.digest, 2)
            assert (new.final, new.accepted, new.up) == (True, True, True)
            assert [p.host for p in new.ports if p.container == 8080] == [p.host for p in self.wanted.ports[:1]]
            assert result.container == new
        elif self.old is None:
            assert left == []
        else:
            (old,) = left
            assert (old.id, old.up, old.accepted) == (self.old.id, self.old.up, True)


SCENARIOS = [
    Scenario(before, wanted, image, stopped)
    for before, wanted in [
        (None, NO_PORTS),
        (None, FIXED),
        (NO_PORTS, NO_PORTS),
        (NO_PORTS, FIXED),
        (FIXED, FIXED),
        (FIXED, MOVED),
    ]
    for image in IMAGES
    for stopped in (False, True)
    if before or not stopped
]


async def nobody(image: str) -> Login | None:
    return None


async def unread(line: str) -> None:
    pass


async def run(host: MemoryHost, release: Release) -> RolloutResult:
    return await roll_out(host, release, credentials=nobody, journal=unread)


def cut_after(changes: int) -> Callable[[str], None]:
    count = itertools.count(1)

    def on_change(change: str) -> None:
        if next(count) == changes:
            raise CutOff(change)

    return on_change


async def cut(host: MemoryHost, release: Release, changes: int) -> bool:
    """Run until that many changes were made; whether it was cut off."""
    host.on_change = cut_after(changes)
    try:
        await run(host, release)
    except CutOff:
        return True
    finally:
        host.on_change = lambda change: None
    return False


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
async def test_undisturbed_it_ends_right_and_does_nothing_the_second_time(scenario: Scenario) -> None:
    release = await scenario.prepare()
    await scenario.assert_end(release, await run(scenario.host, release))
    if scenario.succeeds:
        assert not await cut(scenario.host, release, 1)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
async def test_cut_off_after_any_change_it_ends_right_the_next_time(scenario: Scenario) -> None:
    for changes in itertools.count(1):
        release = await scenario.prepare()
        if not await cut(scenario.host, release, changes):
            break
        await scenario.assert_end(release, await run(scenario.host, release))
    assert changes > (0 if scenario.image == "absent" else 3)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
async def test_cut_off_twice_it_ends_right_the_third_time(scenario: Scenario) -> None:
    for first in itertools.count(1):
        for second in itertools.count(1):
            release = await scenario.prepare()
            if not await cut(scenario.host, release, first):
                return
            if not await cut(scenario.host, release, second):
                break
            await scenario.assert_end(release, await run(scenario.host, release))


@pytest.mark.parametrize("scenario", [s for s in SCENARIOS if s.never_down], ids=str)
async def test_something_accepted_is_up_all_the_time(scenario: Scenario) -> None:
    for changes in itertools.count(1):
        release = await scenario.prepare()
        was_cut = await cut(scenario.host, release, changes)
        assert any(c.up and c.accepted for c in await scenario.host.containers("shop"))
        if not was_cut:
            return


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
async def test_the_next_release_clears_up_after_one_that_was_cut_off(scenario: Scenario) -> None:
    for changes in itertools.count(1):
        release = await scenario.prepare()
        if not await cut(scenario.host, release, changes):
            return
        third = scenario.release(3, scenario.wanted, "good")
        assert (await run(scenario.host, third)).state is RolloutState.SUCCEEDED
        (left,) = await scenario.host.containers("shop")
        assert (left.generation, left.up, left.accepted) == (3, True, True)

        late = await run(scenario.host, release)
        assert late.state is RolloutState.FAILED
        assert "too late" in late.error
        assert await scenario.host.containers("shop") == [left]


@pytest.mark.parametrize("scenario", [s for s in SCENARIOS if s.before], ids=str)
async def test_a_failing_next_release_brings_back_what_served_before_both(scenario: Scenario) -> None:
    for changes in itertools.count(1):
        release = await scenario.prepare()
        if not await cut(scenario.host, release, changes):
            return
        served = [c for c in await scenario.host.containers("shop") if c.accepted]
        third = scenario.release(3, scenario.wanted, "crashes")
        assert (await run(scenario.host, third)).state is RolloutState.FAILED
        (left,) = await scenario.host.containers("shop")
        assert left.id in {c.id for c in served}
        assert left.up is not scenario.stopped or left.generation == 2
