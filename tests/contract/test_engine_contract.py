"""What every build engine keeps: run by BuildKit on this machine's Docker Engine, and by the dummy."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest

from lumper.build.port import BuildRequest, Login, Pushed
from lumper.build.pushing import push_or_rebuild
from lumper.errors import (
    BuildFailed,
    DockerfileMissing,
    EngineUnavailable,
    PushFailed,
    SourceError,
)
from lumper.model.builds.build import Output, Progress, Step, StepState
from parts.engines.context import BASE, context_tar, stream
from parts.engines.engine_bench import BENCHES, PLACE, Bench, Daemons, engine_bench, engines
from parts.line.records import line_by_line, printed
from parts.suite.eventually import eventually


@pytest.fixture(params=engines(BENCHES))
async def bench(request: pytest.FixtureRequest, tmp_path: Path, daemons: Daemons) -> AsyncIterator[Bench]:
    async with engine_bench(request.param, tmp_path, daemons) as bench:
        yield bench


async def test_the_engine_tells_what_it_is(bench: Bench) -> None:
    info = await bench.engine.info()

    assert info.name
    assert info.version
    assert info.platform.startswith("linux/")


async def test_steps_and_their_output_are_told_in_order(bench: Bench) -> None:
    told = await bench.build(f"{BASE}RUN echo one {bench.mark}; echo two\nRUN echo three >&2; echo done\n")

    names = [step.name for step in told if isinstance(step, Step) and step.name.startswith("[")]
    first_seen = list(dict.fromkeys(step.number for step in told if isinstance(step, Step)))
    run = next(s for s in told if isinstance(s, Step) and "RUN echo one" in s.name)
    of_run = [record for record in told if record.number == run.number]
    assert first_seen == list(range(1, len(first_seen) + 1))
    copied = next(name for name in names if name.endswith("] COPY busybox /bin/sh"))
    assert names.index(run.name) > names.index(copied)
    assert PLACE.sub("", run.name).startswith("RUN echo one")
    assert [r.state if isinstance(r, Step) else (r.stream, r.text) for r in line_by_line(of_run)] == [
        StepState.RUNNING,
        (1, f"one {bench.mark}"),
        (1, "two"),
        StepState.DONE,
    ]
    assert {(r.stream, r.text) for r in line_by_line(told) if isinstance(r, Output) and r.number > run.number} == {
        (2, "three"),
        (1, "done"),
    }
    assert all(earlier.at <= later.at for earlier, later in pairwise(of_run))


@pytest.mark.parametrize("named", [False, True])
async def test_the_same_content_is_cached_the_second_time(bench: Bench, named: bool) -> None:
    dockerfile = f"{BASE}RUN echo {bench.mark}\n"
    key = bench.mark if named else ""
    await bench.build(dockerfile, key=key)
    assert bench.last_states()[f"RUN echo {bench.mark}"] is StepState.DONE

    await bench.build(dockerfile, key=key)

    assert set(bench.last_states().values()) >= {StepState.CACHED}
    assert bench.last_states()[f"RUN echo {bench.mark}"] is StepState.CACHED
    assert bench.output() == []


async def test_removing_the_image_keeps_the_cache(bench: Bench) -> None:
    dockerfile = f"{BASE}RUN echo {bench.mark}\n"
    await bench.build(dockerfile)
    await bench.engine.remove(bench.image())

    await bench.build(dockerfile)

    assert bench.last_states()[f"RUN echo {bench.mark}"] is StepState.CACHED


@pytest.mark.parametrize("named", [False, True])
async def test_changed_content_is_not_cached(bench: Bench, named: bool) -> None:
    dockerfile = f"{BASE}COPY page.html /\nRUN echo {bench.mark}\n"
    await bench.build(dockerfile, files={"page.html": "old"}, key=f"{bench.mark} old" if named else "")

    await bench.build(dockerfile, files={"page.html": "new"}, key=f"{bench.mark} new" if named else "")

    assert bench.last_states()[f"RUN echo {bench.mark}"] is StepState.DONE


async def test_without_cache_everything_is_executed_again(bench: Bench) -> None:
    dockerfile = f"{BASE}RUN echo {bench.mark}\n"
    await bench.build(dockerfile)

    await bench.build(dockerfile, no_cache=True)

    assert bench.output() == [bench.mark]


async def test_labels_arrive_in_the_image(bench: Bench) -> None:
    wanted = {"org.opencontainers.image.version": "1.2.3", "org.opencontainers.image.title": 'a "b" = c, d'}

    await bench.build(f"{BASE}LABEL own=yes\n", labels=wanted)

    assert await bench.labels(bench.image()) == {**wanted, "own": "yes"}


async def test_args_reach_the_steps(bench: Bench) -> None:
    await bench.build(f"{BASE}ARG WHO=nobody\nRUN echo hello $WHO {bench.mark}\n", args={"WHO": "world"})

    assert bench.output() == [f"hello world {bench.mark}"]


async def test_only_what_the_target_needs_is_built(bench: Bench) -> None:
    base = f"{BASE}RUN echo base {bench.mark}\n".replace("FROM scratch", "FROM scratch AS base")
    dockerfile = f"{base}FROM base AS tests\nRUN echo tests\nFROM base AS app\nRUN echo app {bench.mark}\n"

    await bench.build(dockerfile, target="app")

    assert bench.output() == [f"base {bench.mark}", f"app {bench.mark}"]


async def test_another_dockerfile_can_be_named(bench: Bench) -> None:
    await bench.build(f"{BASE}RUN echo {bench.mark}\n", name="docker/app.Dockerfile")

    assert bench.output() == [bench.mark]


async def test_a_failing_step_is_named_with_its_exit_code(bench: Bench) -> None:
    with pytest.raises(BuildFailed) as caught:
        await bench.build(f"{BASE}RUN echo {bench.mark}; exit 42\nRUN echo never\n")

    step = f"RUN echo {bench.mark}; exit 42"
    assert PLACE.sub("", caught.value.step) == step
    assert caught.value.exit_code == 42
    assert caught.value.message == f"Step `{caught.value.step}` ended with exit code 42."
    assert bench.last_states()[step] is StepState.FAILED
    assert bench.output() == [bench.mark]
    assert not await bench.engine.images(bench.image())


async def test_a_missing_file_is_named(bench: Bench) -> None:
    with pytest.raises(BuildFailed, match=r"\[\d/\d\] COPY nothing /.*nothing.* not found") as caught:
        await bench.build(f"{BASE}COPY nothing /\n")

    assert caught.value.exit_code is None


async def test_a_missing_dockerfile_is_told_apart(bench: Bench) -> None:
    with pytest.raises(DockerfileMissing, match=r"app\.Dockerfile"):
        await bench.build(None, name="app.Dockerfile")


async def test_a_broken_dockerfile_is_told_with_its_line(bench: Bench) -> None:
    with pytest.raises(BuildFailed, match=r"Dockerfile, line 3: .*FOO") as caught:
        await bench.build(f"{BASE}FOO bar\n")

    assert caught.value.step == ""


async def test_an_empty_dockerfile_fails(bench: Bench) -> None:
    with pytest.raises(BuildFailed, match="empty"):
        await bench.build("")


async def test_an_unknown_target_fails(bench: Bench) -> None:
    with pytest.raises(BuildFailed, match="nowhere"):
        await bench.build(BASE, target="nowhere")


async def test_a_base_image_that_cannot_be_fetched_is_named(bench: Bench) -> None:
    with pytest.raises(BuildFailed, match=r"base image registry\.invalid/app:1 cannot be fetched"):
        await bench.build("FROM registry.invalid/app:1\nRUN echo\n")


async def test_cancelling_ends_the_program_before_it_returns(bench: Bench) -> None:
    # The digits make the program findable among all processes of the machine.
    sleep = f"sleep {int(bench.mark[:7], 16)}"
    building = asyncio.create_task(bench.build(f"{BASE}RUN {sleep}\n"))

    async def begun() -> bool:
        return await asyncio.to_thread(bench.runs, sleep)

    await eventually(begun)
    building.cancel()
    await asyncio.wait((building,), timeout=60)

    assert building.cancelled()
    assert not bench.runs(sleep)
    assert bench.last_states()[f"RUN {sleep}"] is StepState.CANCELLED


async def test_a_cancelled_build_leaves_the_engine_ready(bench: Bench) -> None:
    sleep = f"sleep {int(bench.mark[:7], 16)}"
    building = asyncio.create_task(bench.build(f"{BASE}RUN {sleep}\n"))

    async def begun() -> bool:
        return f"RUN {sleep}" in bench.last_states()

    await eventually(begun)
    building.cancel()
    await asyncio.wait((building,))

    await bench.build(f"{BASE}RUN echo {bench.mark}\n")

    assert bench.output() == [bench.mark]


async def test_an_error_of_the_context_is_what_the_build_ends_with(bench: Bench) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield context_tar({"Dockerfile": BASE})[:1024]
        raise SourceError("git went away")

    request = BuildRequest(bench.mark, bench.image())
    with pytest.raises(SourceError, match="git went away"):
        await bench.engine.build(request, broken(), bench.told.append)


async def test_an_engine_that_is_not_there_is_unavailable(bench: Bench) -> None:
    request = BuildRequest(bench.mark, bench.image())
    context = context_tar({"Dockerfile": BASE})

    attempts: list[Awaitable[object]] = [
        bench.down.info(),
        bench.down.build(request, stream(context), bench.told.append),
        bench.down.cache_size(),
        bench.down.prune(1 << 60),
    ]
    if bench.keeps_images:
        attempts += [
            bench.down.push(bench.image(), None, bench.told.append),
            bench.down.remove(bench.image()),
            bench.down.images(""),
        ]
    for attempt in attempts:
        with pytest.raises(EngineUnavailable, match=r"The build engine at .+ cannot be reached"):
            await attempt


async def test_many_builds_run_at_once(bench: Bench) -> None:
    async def one(number: int) -> list[str]:
        lines: list[Progress] = []
        context = context_tar({"Dockerfile": f"{BASE}RUN echo {bench.mark} {number}\n"})
        request = BuildRequest(f"{bench.mark}-{number}", bench.image(str(number)))
        await bench.engine.build(request, stream(context), lines.append)
        return printed(lines)

    outputs = await asyncio.gather(*(one(number) for number in range(10)))

    assert outputs == [[f"{bench.mark} {number}"] for number in range(10)]
    assert len(await bench.engine.images(bench.prefix)) == 10


async def test_a_push_ends_in_the_digest_of_the_manifest(bench: Bench) -> None:
    await bench.build(f"{BASE}RUN echo {bench.mark}\n")
    told: list[Progress] = []

    pushed = await bench.engine.push(bench.image(), None, told.append)

    manifest = bench.manifests[pushed.digest]
    assert pushed == Pushed(f"sha256:{hashlib.sha256(manifest).hexdigest()}", len(manifest))
    assert [step.state for step in told if isinstance(step, Step)] == [StepState.RUNNING, StepState.DONE]
    assert {step.name for step in told if isinstance(step, Step)} == {f"push {bench.image()}"}
    assert any(isinstance(line, Output) for line in told)
    assert {record.number for record in told}.isdisjoint(record.number for record in bench.told)


async def test_a_push_that_is_refused_says_why(bench: Bench) -> None:
    image = f"{bench.refusing}app:1"
    await bench.build(f"{BASE}RUN echo {bench.mark}\n", image=image)
    told: list[Progress] = []

    with pytest.raises(PushFailed, match="no space left on device"):
        await bench.engine.push(image, Login("worker", "secret"), told.append)

    assert [step.state for step in told if isinstance(step, Step)] == [StepState.RUNNING, StepState.FAILED]


async def test_an_image_that_is_gone_is_known_as_such_and_can_be_built_and_pushed_again(bench: Bench) -> None:
    said: list[str] = []

    async def build() -> None:
        await bench.build(f"{BASE}RUN echo {bench.mark}\n")

    await build()
    await bench.engine.remove(bench.image())
    pushed = await push_or_rebuild(
        partial(bench.engine.push, bench.image(), None, bench.told.append), build, said.append
    )
    assert pushed.digest in bench.manifests
    assert len(said) == 1
    assert said[0].endswith("It is built again.")


async def test_images_are_listed_by_the_beginning_of_their_name(bench: Bench) -> None:
    await bench.build(f"{BASE}RUN echo {bench.mark}\n", image=f"{bench.prefix}app:1")
    await bench.build(f"{BASE}RUN echo {bench.mark}\n", image=f"{bench.prefix}app:2")
    await bench.build(f"{BASE}RUN echo {bench.mark}\n", image=f"{bench.prefix}other:1")

    assert await bench.engine.images(bench.prefix) == [
        f"{bench.prefix}app:1",
        f"{bench.prefix}app:2",
        f"{bench.prefix}other:1",
    ]
    assert await bench.engine.images(f"{bench.prefix}app:") == [f"{bench.prefix}app:1", f"{bench.prefix}app:2"]


async def test_removing_a_name_leaves_the_others_and_may_be_repeated(bench: Bench) -> None:
    await bench.build(BASE, image=f"{bench.prefix}app:1")
    await bench.build(BASE, image=f"{bench.prefix}app:2")

    await bench.engine.remove(f"{bench.prefix}app:1")
    await bench.engine.remove(f"{bench.prefix}app:1")

    assert await bench.engine.images(bench.prefix) == [f"{bench.prefix}app:2"]


async def test_a_build_leaves_something_in_the_cache_that_goes_only_beyond_a_limit(bench: Bench) -> None:
    await bench.build(f"{BASE}RUN echo {bench.mark} > /new\n")
    await bench.engine.remove(bench.image())
    assert await bench.engine.cache_size() > 0
    assert await bench.engine.prune(1 << 60) == 0
    await bench.build(f"{BASE}RUN echo {bench.mark} > /new\n")
    assert bench.last_states()[f"RUN echo {bench.mark} > /new"] is StepState.CACHED


async def test_closing_twice_is_fine(bench: Bench) -> None:
    await bench.engine.close()
    await bench.engine.close()
