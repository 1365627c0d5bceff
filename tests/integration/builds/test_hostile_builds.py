"""Builds that mean harm, or only never end: each is ended and told, nothing of it stays, and the next one runs.

Each by a Docker Engine as Debian has it, by a newer one, and by a buildkitd.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from lumper.build.engines.buildkit import BuildKitEngine
from lumper.build.engines.buildkit.daemon import DaemonEngine
from lumper.build.engines.buildkit.transport.address import parse_address
from lumper.build.port import Engine
from lumper.build.run import Builder
from lumper.build.source.checkout import Mirrors
from lumper.model.builds.build import Outcome, Output, Progress, Result
from lumper.model.builds.masking import Masker
from lumper.model.events import BuildJob
from lumper.wiring.engines import open_target
from parts.disks.small_disk import small_disk
from parts.engines.buildkitd import behind_a_socket
from parts.engines.context import BASE, BUSYBOX
from parts.engines.docker_engine import ADDRESS
from parts.engines.engine_bench import Daemons, any_buildkitd
from parts.engines.narrow_group import narrow_group
from parts.engines.newer_engine import newer_engine
from parts.engines.push_sink import push_sink
from parts.engines.second_engine import second_engine
from parts.git.git_repository import Repository
from parts.line.worker_bench import a_login, no_credentials

pytestmark = [pytest.mark.docker, pytest.mark.system]

KINDS = ("older", "newer", "buildkitd")


@dataclass
class Bench:
    """What a worker builds with."""

    builder: Builder
    repository: Repository
    count: int = 0

    async def build(self, run: str, builder: Builder | None = None) -> tuple[Result, str]:
        """Build a commit that does `run`; the result, and all that the log says."""
        self.count += 1
        files: dict[str, str | bytes] = {"Dockerfile": f"{BASE}RUN {run}\n", "busybox": BUSYBOX.read_bytes()}
        commit = self.repository.commit(files, executables=("busybox",))
        self.repository.tag(f"v{self.count}", commit)
        job = BuildJob(
            self.count, 1, "p1", "owner/app", str(self.repository.path), True, f"refs/tags/v{self.count}", commit,
            "owner/app", f"_build-{self.count}-1",
        )  # fmt: skip
        told: list[Progress] = []
        result = await (builder or self.builder).run(job, told.append, Masker())
        await self.builder.forget(job)
        return result, "\n".join(record.text for record in told if isinstance(record, Output))

    async def ended(self, run: str, words: str, limit: str, *seconds: float) -> tuple[Result, str]:
        """Build with a limit that is so long that these words come before; on a slow machine that is a longer one."""
        for long in seconds:
            result, said = await self.build(run, replace(self.builder, **{limit: long}))  # type: ignore[arg-type]
            if words in said:
                return result, said
        raise AssertionError(f"{words!r} did not come within {long} s: {said}")

    async def check_that_it_still_builds(self) -> None:
        """The next build runs to its end, push and all."""
        mark = uuid.uuid4().hex
        result, said = await self.build(f"echo {mark}")
        assert result.outcome is Outcome.SUCCEEDED, result
        assert mark in said
        assert await self.builder.engine.images(f"{self.builder.registry}/") == []


@asynccontextmanager
async def engine_with(kind: str, *options: str) -> AsyncIterator[str]:
    """The address of an engine of this kind with these options of dockerd."""
    async with AsyncExitStack() as stack:
        if kind == "older":
            yield (await stack.enter_async_context(second_engine(*options))).address
            return
        socket = stack.enter_context(newer_engine(*options))
        if kind == "newer":
            yield f"unix://{socket}"
        else:
            yield f"buildkitd+{await stack.enter_async_context(behind_a_socket(socket))}"


@asynccontextmanager
async def bench_on(address: str, folder: Path) -> AsyncIterator[Bench]:
    """A bench at this engine."""
    engine: Engine = BuildKitEngine(address)
    if address.startswith("buildkitd+"):
        engine = DaemonEngine(parse_address(address), folder / "images", open_target)
    try:
        async with push_sink() as registry:
            mirrors = Mirrors(folder / "mirrors")
            builder = Builder(engine, mirrors, registry.address, a_login, no_credentials, timeout=120)
            yield Bench(builder, Repository(folder / "app.git"))
    finally:
        await engine.close()


@pytest.fixture(params=KINDS)
async def bench(request: pytest.FixtureRequest, daemons: Daemons, tmp_path: Path) -> AsyncIterator[Bench]:
    async with AsyncExitStack() as stack:
        address = ADDRESS if request.param == "older" else f"unix://{daemons.newer_engine()}"
        if request.param == "buildkitd":
            address = f"buildkitd+{await stack.enter_async_context(any_buildkitd(daemons))}"
        yield await stack.enter_async_context(bench_on(address, tmp_path))


def running(text: str) -> int:
    """How many processes of this machine have the text in their command line."""
    count = 0
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            count += text.encode() in path.read_bytes().replace(b"\0", b" ")
        except OSError:  # it ended meanwhile
            continue
    return count


async def test_a_build_without_end_and_all_that_it_has_started_are_ended(bench: Bench, tmp_path: Path) -> None:
    mark = f"sleep {100_000 + abs(hash(str(tmp_path))) % 100_000}"
    children = f"for i in $(seq 60); do (trap '' TERM INT HUP; {mark}) & done; echo all have begun; wait"
    result, _ = await bench.ended(children, "all have begun", "timeout", 6.0, 20.0, 60.0)
    assert (result.outcome, result.temporary) == (Outcome.FAILED, False)
    assert "did not end within" in result.error
    assert running(mark) == 0
    await bench.check_that_it_still_builds()


async def test_a_build_that_has_fallen_silent_is_ended(bench: Bench, tmp_path: Path) -> None:
    mark = f"sleep {200_000 + abs(hash(str(tmp_path))) % 100_000}"
    result, _ = await bench.ended(f"echo last words; {mark}", "last words", "silence", 3.0, 12.0, 40.0)
    assert "printed nothing" in result.error
    assert "wait for input" in result.hint
    assert running(mark) == 0
    await bench.check_that_it_still_builds()


FILL = "dd if=/dev/zero of=/fill bs=1M 2>&1; echo filled >&2; sync; exit 1"


async def test_a_build_that_fills_the_engine_s_disk_says_so_and_the_next_one_has_it_back(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "160m") as disk:
        async with engine_with("older", "--data-root", str(disk)) as address, bench_on(address, tmp_path) as bench:
            result, said = await bench.build(FILL)
            assert "No space left on device" in said
            assert result.outcome is Outcome.FAILED
            await bench.check_that_it_still_builds()


@pytest.mark.parametrize("kind", KINDS[1:])
async def test_containerd_on_a_full_disk_needs_a_little_space_before_it_gives_the_rest_back(
    kind: str, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "disk", "160m") as disk:
        (disk / "ballast").write_bytes(bytes(8 << 20))
        async with engine_with(kind, "--data-root", str(disk)) as address, bench_on(address, tmp_path) as bench:
            _, said = await bench.build(FILL)
            assert "No space left on device" in said
            result, _ = await bench.build("echo next")
            assert result.outcome is Outcome.SUCCEEDED or "Free some space" in result.hint
            (disk / "ballast").unlink()
            await bench.check_that_it_still_builds()


BOMB = 'export b=\'while :; do sh -c "$b" "$b" & done\'; sh -c "$b" {mark} & exec sleep {mark}'
"""Shells that start shells, faster than any of them ends."""


@pytest.mark.parametrize("kind", KINDS)
async def test_a_fork_bomb_in_an_engine_with_limits_is_ended_and_nothing_of_it_stays(kind: str, tmp_path: Path) -> None:
    mark = f"{300_000 + abs(hash(str(tmp_path))) % 100_000}"
    with narrow_group(processes=150, cpus=0.5) as group:
        options = ("--cgroup-parent", group, "--exec-opt", "native.cgroupdriver=cgroupfs")
        async with engine_with(kind, *options) as address, bench_on(address, tmp_path) as bench:
            result, _ = await bench.ended(BOMB.format(mark=mark), "can't fork", "timeout", 10.0, 25.0, 60.0)
            assert (result.outcome, result.temporary) == (Outcome.FAILED, False)
            assert "did not end within" in result.error
            assert running(f"sleep {mark}") == running('sh -c "$b"') == 0
            await bench.check_that_it_still_builds()
