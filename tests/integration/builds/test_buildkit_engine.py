"""What the contract of engines does not reach: the ways in which a real engine, and the line to it, go wrong."""

from __future__ import annotations

import asyncio
import base64
import uuid
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from lumper.build.engines.buildkit import BuildKitEngine
from lumper.build.engines.buildkit.progress import CLIPPED
from lumper.build.port import BuildRequest, Login, Report
from lumper.build.reading import read_and_build
from lumper.errors import BuildFailed, EngineUnavailable, FrontendUnavailable, PushFailed
from lumper.model.builds.build import Progress, Step, StepState
from parts.disks.held_files import HeldFiles
from parts.engines import docker_engine
from parts.engines.context import BASE, context_tar, stream, the_busybox
from parts.engines.push_sink import push_sink
from parts.engines.weak_line import WeakLine, weak_line
from parts.line.records import printed
from parts.suite.eventually import eventually

pytestmark = pytest.mark.docker

SOCKET = docker_engine.ADDRESS.removeprefix("unix://")


@pytest.fixture
def image() -> str:
    return f"lumper-test-{uuid.uuid4().hex[:8]}:1"


@pytest.fixture
async def engine(image: str) -> AsyncIterator[BuildKitEngine]:
    engine = BuildKitEngine(docker_engine.ADDRESS)
    yield engine
    await engine.remove(image)
    await engine.close()


@pytest.fixture
async def line(tmp_path: Path) -> AsyncIterator[WeakLine]:
    async with weak_line(tmp_path / "docker.sock", SOCKET) as line:
        yield line


async def build(engine: BuildKitEngine, image: str, dockerfile: str, **more: Any) -> list[Progress]:
    told: list[Progress] = []
    await engine.build(BuildRequest("1", image, **more), stream(context_tar({"Dockerfile": dockerfile})), told.append)
    return told


def texts(told: list[Progress]) -> list[str]:
    return printed(told)


async def test_an_engine_that_dies_during_a_build_is_unavailable(image: str, line: WeakLine, tmp_path: Path) -> None:
    told: list[Progress] = []
    engine = BuildKitEngine(f"unix://{tmp_path}/docker.sock")
    context = context_tar({"Dockerfile": f"{BASE}RUN echo {image}; sleep 60\n"})
    building = asyncio.create_task(engine.build(BuildRequest("1", image), stream(context), told.append))

    async def begun() -> bool:
        return texts(told) == [image]

    await eventually(begun)
    line.cut()
    with pytest.raises(EngineUnavailable, match=r"docker\.sock gave the build up"):
        await asyncio.wait_for(building, 50)  # and not when the step ends
    await engine.close()

    assert isinstance(told[-1], Step)
    assert told[-1].state is StepState.CANCELLED


async def test_an_engine_that_dies_during_a_push_is_unavailable(line: WeakLine, tmp_path: Path) -> None:
    engine = BuildKitEngine(f"unix://{tmp_path}/docker.sock")
    async with push_sink(shut=True) as registry:
        name = f"{registry.address}/lumper-test:1"
        await build(engine, name, BASE)
        pushing = asyncio.create_task(engine.push(name, None, lambda _: None))
        await registry.asked.wait()
        line.cut()
        with pytest.raises(EngineUnavailable, match=r"docker\.sock"):
            await pushing
        await engine.remove(name)
    await engine.close()


async def test_a_cancelled_push_is_told_as_such(engine: BuildKitEngine) -> None:
    told: list[Progress] = []
    async with push_sink(shut=True) as registry:
        name = f"{registry.address}/lumper-test:1"
        await build(engine, name, BASE)
        pushing = asyncio.create_task(engine.push(name, None, told.append))
        await registry.asked.wait()
        pushing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await pushing
        await engine.remove(name)

    assert isinstance(told[-1], Step)
    assert told[-1].state is StepState.CANCELLED
    assert registry.manifests == {}


async def test_connections_end_with_the_build(image: str, line: WeakLine, tmp_path: Path) -> None:
    engine = BuildKitEngine(f"unix://{tmp_path}/docker.sock")
    await build(engine, image, BASE)
    with pytest.raises(BuildFailed):
        await build(engine, image, f"{BASE}RUN exit 1\n")
    await engine.remove(image)
    await engine.close()

    async def closed() -> bool:
        return not line.open

    await eventually(closed)
    assert line.made <= 7  # for each build its own, one that tells of it and one that stands by; one for the REST API


async def test_cancelling_while_the_context_is_read_closes_the_context(engine: BuildKitEngine, image: str) -> None:
    waits, closed = asyncio.Event(), asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        try:
            yield context_tar({"Dockerfile": BASE}) * 2
            waits.set()
            await asyncio.Event().wait()
        finally:
            closed.set()

    building = asyncio.create_task(engine.build(BuildRequest("1", image), endless(), lambda _: None))
    await waits.wait()
    building.cancel()
    await asyncio.wait((building,), timeout=60)

    assert building.cancelled()
    assert closed.is_set()


async def test_a_large_context_arrives_whole(engine: BuildKitEngine, image: str) -> None:
    blob = uuid.uuid4().bytes * (1 << 20)  # 16 MiB
    told: list[Progress] = []
    context = context_tar({"Dockerfile": f"{BASE}COPY blob /\nRUN wc -c </blob\n", "blob": blob})
    await engine.build(BuildRequest("1", image), stream(context, 100_001), told.append)

    assert texts(told) == [str(16 << 20)]


async def test_of_files_one_by_one_only_those_that_are_copied_are_read(engine: BuildKitEngine, image: str) -> None:
    dockerfile = f"{BASE}COPY some/a* /\nRUN --mount=source=m,target=/m cat /a /m\n"
    files = HeldFiles(
        {"Dockerfile": dockerfile, "busybox": the_busybox(), "some/a": f"{image} ", "m": "m", "some/b": "b", "c": "c"},
        key=image,
    )
    told: list[Progress] = []
    await engine.build(BuildRequest("1", image, files=files), stream(b""), told.append)

    assert texts(told) == [f"{image} m"]
    assert sorted(files.read_so_far) == ["Dockerfile", "busybox", "m", "some/a"]


async def test_commits_of_one_place_are_not_taken_for_each_other(engine: BuildKitEngine, image: str) -> None:
    async def built(key: str, content: str, time: int) -> list[str]:
        dockerfile = f"{BASE}COPY a /\nRUN cat /a\n"
        files: dict[str, bytes | str] = {"Dockerfile": dockerfile, "busybox": the_busybox(), "a": content}
        told: list[Progress] = []
        held = HeldFiles(files, key=f"{image} {key}", time=time)
        await engine.build(BuildRequest("1", image, files=held, no_cache=True), stream(b""), told.append)
        assert ("a" in held.read_so_far) is (key not in there)
        there.add(key)
        return texts(told)

    there: set[str] = set()
    assert await built("first", "old", 1000) == ["old"]
    assert await built("second", "new", 1000) == ["new"]  # of the same second and size
    assert await built("second", "new", 1000) == ["new"]  # is there
    assert await built("third", "own", 1001) == ["own"]
    there.clear()  # for the third lies there now
    assert await built("first", "old", 1000) == ["old"]
    assert await built("first", "old", 1000) == ["old"]


async def test_what_is_as_in_an_earlier_commit_is_not_sent_again(engine: BuildKitEngine, image: str) -> None:
    async def built(time: int, content: str, **more: Any) -> tuple[list[str], list[str]]:
        """What the build saw, the time of the file included, and what it was sent."""
        dockerfile = f"{BASE}COPY a /\nARG N\nRUN cat /a; stat -c %Y /a\n"
        files: dict[str, bytes | str] = {"Dockerfile": dockerfile, "busybox": the_busybox(), "a": content}
        held = HeldFiles({**files, "unused": f"{time}"}, key=f"{image} {time}", time=time)
        told: list[Progress] = []
        request = BuildRequest("1", image, files=held, args={"N": f"{image} {time}"}, **more)
        await engine.build(request, stream(b""), told.append)
        return texts(told), sorted(held.read_so_far)

    old, new = f"old {image}\n", f"new {image}\n"
    whole = ["Dockerfile", "a", "busybox"]
    assert await built(1000, old) == ([old.strip(), "1000"], whole)
    assert await built(1001, old) == ([old.strip(), "1000"], [])
    assert await built(1002, new) == ([new.strip(), "1002"], whole[1:])  # of the same size
    assert await built(1003, old) == ([old.strip(), "1000"], whole[1:])  # there lies the newer one
    assert await built(1004, old) == ([old.strip(), "1000"], [])
    assert await built(1005, old, no_cache=True) == ([old.strip(), "1005"], whole)  # as another worker would build it
    assert (await built(1006, old))[1] == whole


async def test_where_files_cannot_be_had_one_by_one_the_stream_is_sent(engine: BuildKitEngine, image: str) -> None:
    dockerfile = f"{BASE}COPY odd/a /\nRUN cat /a\n"
    contents: dict[str, bytes | str] = {"Dockerfile": dockerfile, "busybox": the_busybox(), "odd/a": image}
    files = HeldFiles(contents, key=image, odd="odd")
    told: list[Progress] = []
    said: list[str] = []

    async def attempt(request: BuildRequest, report: Report) -> None:
        await engine.build(request, stream(context_tar(contents)), report)

    await read_and_build(attempt, BuildRequest("1", image, files=files), told.append, said.append)

    assert texts(told) == [image]
    assert said == ["All files of the context are needed: the build begins again."]


async def test_output_that_is_not_plain_text_passes(engine: BuildKitEngine, image: str) -> None:
    command = r"""printf 'a\r\nb\rc\n\033[31mred\033[0m\n\377 <script>\nno end'"""

    told = await build(engine, image, f"{BASE}RUN : {image}; {command}\n")

    assert texts(told) == ["a", "b\rc", "\x1b[31mred\x1b[0m", "� <script>", "no end"]


async def test_a_long_log_arrives_whole_or_says_that_it_was_clipped(engine: BuildKitEngine, image: str) -> None:
    loop = "i=0; while [ $i -lt 20000 ]; do echo $i of a long log that goes on; i=$((i+1)); done"

    printed = texts(await build(engine, image, f"{BASE}RUN : {image}; {loop}\n"))

    whole = [f"{number} of a long log that goes on" for number in range(20000)]
    assert printed == whole or (printed[:1000] == whole[:1000] and "output clipped" in printed[-2])
    assert (printed == whole) != (printed[-1] == CLIPPED)


async def test_a_syntax_image_that_never_answers_is_given_up(image: str) -> None:
    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer):
            await reader.read()

    impatient = BuildKitEngine(docker_engine.ADDRESS, frontend_time=1.0)
    async with await asyncio.start_server(say_nothing, "127.0.0.1", 0) as silent:
        name = f"127.0.0.1:{silent.sockets[0].getsockname()[1]}/dockerfile:1"
        try:
            async with asyncio.timeout(60):
                with pytest.raises(FrontendUnavailable, match="did not come within"):
                    await build(impatient, image, f"# syntax={name}\n{BASE}", frontend=name)
        finally:
            await impatient.close()


async def test_cancelling_twice_does_not_leave_anything_behind(engine: BuildKitEngine, image: str) -> None:
    told: list[Progress] = []
    context = context_tar({"Dockerfile": f"{BASE}RUN echo {image}; sleep 61\n"})
    building = asyncio.create_task(engine.build(BuildRequest("1", image), stream(context), told.append))

    async def begun() -> bool:
        return texts(told) == [image]

    await eventually(begun)
    building.cancel()
    await asyncio.sleep(0)
    building.cancel()
    with pytest.raises(asyncio.CancelledError):
        await building


async def test_the_login_reaches_the_registry(engine: BuildKitEngine) -> None:
    basic = "Basic " + base64.b64encode(b"worker:s3cret").decode()
    async with push_sink(login=basic) as registry:
        name = f"{registry.address}/lumper-test:1"
        await build(engine, name, BASE)
        try:
            pushed = await engine.push(name, Login("worker", "s3cret"), lambda _: None)
        finally:
            await engine.remove(name)

    assert pushed.digest in registry.manifests


async def test_numbers_of_pushes_go_on(engine: BuildKitEngine, image: str) -> None:
    numbers: list[int] = []
    for _ in range(2):
        with pytest.raises(PushFailed):
            await engine.push(image, None, lambda record: numbers.append(record.number))

    assert numbers == [1001, 1001, 1002, 1002]
