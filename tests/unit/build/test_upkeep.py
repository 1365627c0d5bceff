"""The chores of a worker: what goes, and what stays, with the dummy engine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lumper.build.engines.buildkit.daemon import DaemonEngine
from lumper.build.engines.buildkit.transport.address import parse_address
from lumper.build.engines.dummy import STEP_SIZE, DummyEngine
from lumper.build.port import BuildRequest, Engine
from lumper.build.run import Builder
from lumper.build.source.checkout import Mirrors
from lumper.build.upkeep import Upkeep, UpkeepLimits
from lumper.errors import EngineUnavailable
from lumper.model.events import BuildJob
from lumper.wiring.engines import open_target
from parts.engines.context import context_tar, stream
from parts.line.worker_bench import a_login, no_credentials


def builder(folder: Path, engine: Engine, timeout: float = 3600.0) -> Builder:
    """What builds with this engine."""
    return Builder(engine, Mirrors(folder), "r.test", a_login, no_credentials, timeout=timeout, push_timeout=0.0)


async def build(engine: DummyEngine, image: str, steps: int = 1) -> None:
    """Build an image with so many steps of its own."""
    dockerfile = "FROM scratch\n" + "".join(f"RUN echo {image} {n}\n" for n in range(steps))
    context = stream(context_tar({"Dockerfile": dockerfile}, busybox=False))
    await engine.build(BuildRequest(image, image), context, lambda _: None)


@pytest.fixture
async def engine() -> AsyncIterator[DummyEngine]:
    engine = DummyEngine()
    yield engine
    await engine.close()


@pytest.mark.parametrize(("limit", "left"), [(0, 20), (20, 20), (10, 9)])
async def test_a_cache_over_its_limit_is_cut_with_room_to_grow(
    limit: int, left: int, engine: DummyEngine, tmp_path: Path
) -> None:
    await build(engine, "r.test/app:1", 20)
    upkeep = Upkeep(builder(tmp_path, engine), UpkeepLimits(engine_disk=limit * STEP_SIZE), set)
    await upkeep.prune_engine()
    assert await engine.cache_size() == left * STEP_SIZE


async def test_what_was_used_last_stays(engine: DummyEngine, tmp_path: Path) -> None:
    await build(engine, "r.test/old:1", 3)
    await build(engine, "r.test/new:1", 3)
    await build(engine, "r.test/old:1", 3)
    upkeep = Upkeep(builder(tmp_path, engine), UpkeepLimits(engine_disk=4 * STEP_SIZE), set)
    await upkeep.prune_engine()
    await build(engine, "r.test/old:1", 3)
    assert await engine.cache_size() == 3 * STEP_SIZE  # nothing of it had to be done anew


async def test_names_that_this_worker_has_left_go_at_once_and_those_of_others_later(
    engine: DummyEngine, tmp_path: Path
) -> None:
    held = {"_build-2-1"}
    for name in ("r.test/app:_build-1-1", "r.test/app:_build-2-1", "r.test/app:1.0", "other.test/app:_build-1-1"):
        await build(engine, name)
    await build(engine, "r.test/app:_build-3-1")  # by another worker, which is at work on it: it has an hour to end
    upkeep = Upkeep(builder(tmp_path, engine), UpkeepLimits(), lambda: held, {"_build-1-1"})
    await upkeep.forget_names()
    await upkeep.forget_names()
    left = ["other.test/app:_build-1-1", "r.test/app:1.0", "r.test/app:_build-2-1"]
    assert await engine.images("") == [*left, "r.test/app:_build-3-1"]
    impatient = Upkeep(builder(tmp_path, engine, timeout=0.0), UpkeepLimits(), lambda: held)
    await impatient.forget_names()
    await build(engine, "r.test/app:_build-4-1")
    await impatient.forget_names()
    assert await engine.images("") == left


async def test_an_engine_that_is_away_is_told_and_the_next_time_is_a_first_one_again(tmp_path: Path) -> None:
    upkeep = Upkeep(builder(tmp_path, DummyEngine(down=True)), UpkeepLimits(engine_disk=1), set)
    for chore in (upkeep.prune_engine, upkeep.forget_names):
        with pytest.raises(EngineUnavailable):
            await chore()
    await upkeep.prune_mirrors()
    assert set(upkeep.chores()) == {"worker.names", "worker.mirrors", "worker.engine_disk"}


async def test_a_name_that_the_disk_does_not_let_go_stays_and_ends_no_worker(tmp_path: Path) -> None:
    job = BuildJob(1, 1, "p", "app", "http://git.test/app.git", False, "refs/tags/v1", "a" * 40, "app", "_build-1-1")
    (tmp_path / "images/lock").mkdir(parents=True)  # where a file has to be written
    engine = DaemonEngine(parse_address("buildkitd+tcp://127.0.0.1:9"), tmp_path / "images", open_target)
    await builder(tmp_path, engine).forget(job)
    await engine.close()
