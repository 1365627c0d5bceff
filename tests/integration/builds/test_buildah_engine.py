"""What buildah alone does, or must not do, with the real program."""

from __future__ import annotations

import asyncio
import fcntl
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from lumper.build.engines.buildah.home import BuildahHome
from lumper.build.port import Limits
from lumper.errors import BuildFailed
from lumper.model.builds.build import StepState
from parts.engines.context import BASE
from parts.engines.engine_bench import Bench, Daemons, engine_bench
from parts.engines.gate import Gate
from parts.suite.eventually import eventually

pytestmark = [pytest.mark.docker, pytest.mark.system]

EPOCH = "1700000000"


@pytest.fixture
async def bench(tmp_path: Path, daemons: Daemons) -> AsyncIterator[Bench]:
    async with engine_bench("buildah", tmp_path, daemons) as bench:
        yield bench


@pytest.fixture
def place(tmp_path: Path) -> BuildahHome:
    return BuildahHome(tmp_path / "buildah")


async def buildah(place: BuildahHome, *arguments: str) -> bytes:
    process = await asyncio.create_subprocess_exec(
        "buildah", *place.arguments, *arguments, stdout=asyncio.subprocess.PIPE, env=place.environment()
    )
    output, _ = await process.communicate()
    return output


async def test_no_base_image_comes_from_files_of_the_machine(bench: Bench, place: BuildahHome, tmp_path: Path) -> None:
    await bench.build(f"{BASE}RUN echo secret of {bench.mark} >/secret\n")
    await buildah(place, "push", bench.image(), f"oci-archive:{tmp_path}/image.tar")
    assert (tmp_path / "image.tar").exists()

    for source in (f"oci-archive:{tmp_path}/image.tar", "containers-storage:[/var/lib/containers/storage]app:1"):
        with pytest.raises(BuildFailed):
            await bench.build(f"FROM {source}\nRUN cat /secret\n", no_cache=True)
        with pytest.raises(BuildFailed):
            await bench.build(f"{BASE}COPY --from={source} /secret /\nRUN cat /secret\n", no_cache=True)
        assert f"secret of {bench.mark}" not in bench.output()


async def test_a_step_gets_no_more_memory_and_cpu_than_its_limit(bench: Bench) -> None:
    def limit(old: str, new: str) -> str:
        return f"cat /sys/fs/cgroup/{new} 2>/dev/null || cat /sys/fs/cgroup/{old}"

    memory = limit("memory/memory.limit_in_bytes", "memory.max")
    cpus = limit("cpu/cpu.cfs_quota_us", "cpu.max")
    await bench.build(f"{BASE}RUN {memory}; {cpus}\n", limits=Limits(memory=64 << 20, cpus=0.5))
    assert bench.output()[0] == str(64 << 20)
    assert bench.output()[1].startswith("50000")

    with pytest.raises(BuildFailed):
        await bench.build(f"{BASE}RUN dd if=/dev/zero of=/dev/null bs=200M count=1\n", limits=Limits(memory=64 << 20))


async def test_the_same_source_gives_the_same_digest_when_times_are_rewritten(
    bench: Bench, tmp_path: Path, daemons: Daemons
) -> None:
    dockerfile = f"{BASE}ARG SOURCE_DATE_EPOCH\nRUN echo {bench.mark} >/file; mkdir /folder\n"
    more: dict[str, Any] = {"args": {"SOURCE_DATE_EPOCH": EPOCH}, "rewrite_timestamp": True}
    await bench.build(dockerfile, **more)
    first = await bench.engine.push(bench.image(), None, bench.told.append)

    async with engine_bench("buildah", tmp_path / "another", daemons) as another:
        await another.build(dockerfile, **more)
        second = await another.engine.push(another.image(), None, another.told.append)

    assert first.digest == second.digest


async def test_an_image_for_several_platforms_is_pushed_as_an_index(bench: Bench) -> None:
    dockerfile = "FROM scratch\nARG TARGETARCH\nCOPY $TARGETARCH /arch\n"
    platforms = ("linux/amd64", "linux/arm64")
    await bench.build(dockerfile, files={"amd64": "a", "arm64": "b"}, platforms=platforms)
    pushed = await bench.engine.push(bench.image(), None, bench.told.append)

    index = json.loads(bench.manifests[pushed.digest])
    found = {f"{one['platform']['os']}/{one['platform']['architecture']}" for one in index["manifests"]}
    assert found == set(platforms)
    configs = [json.loads(bench.manifests[one["digest"]])["config"]["digest"] for one in index["manifests"]]
    assert {json.loads(bench.blobs[config])["architecture"] for config in configs} == {"amd64", "arm64"}
    assert await bench.engine.images(bench.prefix) == [bench.image()]
    await bench.engine.remove(bench.image())
    assert await bench.engine.images(bench.prefix) == []


async def test_platforms_with_the_same_files_are_still_two_images(bench: Bench) -> None:
    platforms = ("linux/amd64", "linux/arm64")
    await bench.build("FROM scratch\nCOPY text /\n", files={"text": bench.mark}, platforms=platforms)
    pushed = await bench.engine.push(bench.image(), None, bench.told.append)

    index = json.loads(bench.manifests[pushed.digest])
    assert {one["platform"]["architecture"] for one in index["manifests"]} == {"amd64", "arm64"}


async def test_the_cache_goes_when_it_may_hold_nothing_and_needed_images_stay(bench: Bench) -> None:
    await bench.build(f"{BASE}RUN echo {bench.mark} >/one\n", image=bench.image("1"))
    await bench.build(f"{BASE}RUN echo {bench.mark} >/two\n", image=bench.image("2"))
    await bench.engine.remove(bench.image("1"))
    size = await bench.engine.cache_size()
    assert size > 0

    assert await bench.engine.prune(0) == size
    assert await bench.engine.cache_size() == 0
    assert await bench.engine.images(bench.prefix) == [bench.image("2")]

    await bench.build(f"{BASE}RUN echo {bench.mark} >/two\n", image=bench.image("2"))
    assert bench.last_states()[f"RUN echo {bench.mark} >/two"] is StepState.CACHED


async def test_the_cache_is_cut_as_soon_as_the_build_under_way_has_ended_and_the_next_one_waits_for_that(
    bench: Bench, place: BuildahHome
) -> None:
    await bench.build(f"{BASE}RUN echo {bench.mark} >/one\n", image=bench.image("1"))
    await bench.engine.remove(bench.image("1"))
    gate = Gate()
    dockerfile = f"{BASE}COPY busybox /bin/busybox\n{gate.step}"
    slow = asyncio.create_task(bench.build(dockerfile, image=bench.image("2")))

    async def begun() -> bool:
        return gate.somebody_waits

    await eventually(begun)
    pruning = asyncio.create_task(bench.engine.prune(0))

    async def waits() -> bool:
        with (place.base / "gate").open() as gate, suppress(BlockingIOError):
            fcntl.flock(gate, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False
        return True

    await eventually(waits)
    next_one = asyncio.create_task(bench.build(f"{BASE}RUN echo {bench.mark} >/three\n", image=bench.image("3")))

    async def told() -> bool:
        return any("this build waits until it was cut" in line for line in bench.output())

    await eventually(told)
    gate.let_through()
    freed = await pruning
    assert freed > 0
    await asyncio.gather(slow, next_one)
    assert await bench.engine.images(bench.prefix) == [bench.image("2"), bench.image("3")]


async def test_a_cancelled_build_leaves_no_container_and_no_mount(bench: Bench, place: BuildahHome) -> None:
    building = asyncio.create_task(bench.build(f"{BASE}RUN echo begun; sleep 600\n"))

    async def begun() -> bool:
        return "begun" in bench.output()

    await eventually(begun)
    building.cancel()
    await asyncio.wait((building,))

    assert await buildah(place, "containers", "--quiet") == b""
    assert f"{place.base}/storage/overlay/" not in Path("/proc/self/mountinfo").read_text()
    assert [path.name for path in place.base.glob("tmp/*") if not path.name.startswith("buildah-cache")] == []
