"""The cache of a real engine is held to its limit, while the engine builds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lumper.build.engines.buildkit import BuildKitEngine
from lumper.build.port import BuildRequest
from lumper.build.run import Builder
from lumper.build.source.checkout import Mirrors
from lumper.build.upkeep import Upkeep, UpkeepLimits
from lumper.model.builds.build import Output, Progress, Step, StepState
from parts.engines.context import BASE, context_tar, stream
from parts.engines.gate import Gate
from parts.engines.second_engine import SecondEngine, second_engine
from parts.line.worker_bench import a_login, no_credentials
from parts.suite.eventually import eventually

pytestmark = pytest.mark.docker

MIB = 1 << 20
FILL = "dd if=/dev/zero of=/filled bs=1M count=20 2>/dev/null"


@dataclass
class Bench:
    """An engine that nobody else uses, and the chores of its worker."""

    second: SecondEngine
    engine: BuildKitEngine
    upkeep: Upkeep

    async def build(self, name: str, command: str, told: list[Progress] | None = None) -> list[Progress]:
        """Build an image of this name whose one step runs `command`."""
        told = [] if told is None else told
        context = stream(context_tar({"Dockerfile": f"{BASE}RUN {command}\n"}))
        await self.engine.build(BuildRequest(name, f"r.test/{name}"), context, told.append)
        return told


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with second_engine() as second:
        engine = BuildKitEngine(second.address)
        builder = Builder(engine, Mirrors(tmp_path), "r.test", a_login, no_credentials, timeout=3600)
        yield Bench(second, engine, Upkeep(builder, UpkeepLimits(engine_disk=50 * MIB), set))
        await engine.close()


def states(told: list[Progress]) -> dict[str, StepState]:
    """The last state of every step."""
    return {record.name: record.state for record in told if isinstance(record, Step)}


async def test_a_full_cache_is_cut_below_its_limit_and_the_engine_goes_on_building(bench: Bench) -> None:
    for number in range(4):
        await bench.build(f"app:{number}", f"echo {number}; {FILL}")
        await bench.engine.remove(f"r.test/app:{number}")
    assert await bench.engine.cache_size() > 80 * MIB
    await bench.upkeep.prune_engine()
    assert 0 < await bench.engine.cache_size() <= 45 * MIB
    assert await bench.engine.images("") == []
    before = await bench.engine.cache_size()
    await bench.upkeep.prune_engine()  # within the limit: nothing goes
    assert await bench.engine.cache_size() == before
    told = await bench.build("app:3", f"echo 3; {FILL}")  # the newest was kept
    assert states(told)[f"[2/2] RUN echo 3; {FILL}"] is StepState.CACHED


async def test_pruning_leaves_alone_what_a_build_is_using(bench: Bench) -> None:
    await bench.build("app:0", FILL)
    await bench.engine.remove("r.test/app:0")
    told: list[Progress] = []
    gate = Gate()
    dockerfile = f"{BASE}COPY busybox /bin/busybox\nRUN {FILL}\n{gate.step}RUN ls -l /filled\n"
    context = stream(context_tar({"Dockerfile": dockerfile}))
    building = asyncio.create_task(bench.engine.build(BuildRequest("app", "r.test/app:1"), context, told.append))

    async def begun() -> bool:
        return gate.somebody_waits

    await eventually(begun)
    await bench.engine.prune(0)
    assert not building.done()
    gate.let_through()
    await building
    assert any(isinstance(record, Output) and "/filled" in record.text for record in told)
    assert await bench.engine.images("") == ["r.test/app:1"]


async def test_what_a_name_still_needs_is_not_cut(bench: Bench) -> None:
    for number in range(4):
        await bench.build(f"app:{number}", f"echo {number}; {FILL}")
    await bench.upkeep.prune_engine()
    await bench.engine.prune(0)
    assert await bench.engine.images("") == [f"r.test/app:{number}" for number in range(4)]
    assert "20971520" in await bench.second.docker("run", "--rm", "r.test/app:2", "sh", "-c", "ls -l /filled")
