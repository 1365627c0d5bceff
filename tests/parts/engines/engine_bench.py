"""Build engines as the contract tests run them, each with a registry that takes its pushes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import shutil
import subprocess
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import aiodocker
import pytest
from _pytest.mark import ParameterSet

from lumper.build.capabilities import CAPABILITIES
from lumper.build.engines.buildah import BuildahEngine
from lumper.build.engines.buildah.home import BuildahHome
from lumper.build.engines.buildkit import BuildKitEngine
from lumper.build.engines.buildkit.daemon import DaemonEngine
from lumper.build.engines.buildkit.session.context import INCREMENTAL_FROM
from lumper.build.engines.buildkit.transport.address import parse_address
from lumper.build.engines.buildx import BuildxEngine
from lumper.build.engines.dummy import DummyEngine
from lumper.build.engines.programs.workshop import Workshop
from lumper.build.port import BuildRequest, Capability, Engine, Login
from lumper.build.target import OpenTarget
from lumper.model.builds.build import Progress, Step, StepState
from lumper.wiring.engines import open_target
from parts.disks.held_files import HeldFiles
from parts.engines import docker_engine, newer_engine
from parts.engines.buildkitd import behind_a_socket, buildkitd
from parts.engines.context import context_tar, stream, the_busybox
from parts.engines.push_sink import PushSink, push_sink
from parts.line.records import printed

PLACE = re.compile(r"\[(?:[^\]]+ )?\d+/\d+\] ")
"""What stands before an instruction in the name of its step: the stage, if there are several, and the place in it."""


class Daemons:
    """Daemons of the tests' own, each started when it is first wanted; they end with `stack`."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self._stack = stack
        self._started: dict[str, str] = {}

    def newer_engine(self) -> str:
        """The socket of a Docker Engine that keeps images in containerd."""
        return self._start("newer engine", newer_engine.newer_engine)

    def buildkitd(self) -> str:
        """The socket of a buildkitd."""
        return self._start("buildkitd", buildkitd)

    def _start(self, name: str, start: Callable[[], contextlib.AbstractContextManager[str]]) -> str:
        if name not in self._started:
            self._started[name] = self._stack.enter_context(start())
        return self._started[name]


@pytest.fixture(scope="session")
def daemons() -> Iterator[Daemons]:
    with contextlib.ExitStack() as stack:
        yield Daemons(stack)


Labels = Callable[[str], Awaitable[Mapping[str, str]]]
"""What tells the labels of an image."""


@dataclass
class Bench:
    """An engine and what a test must know of its surroundings.

    Images of the test begin with `prefix`, whose registry takes pushes; the one of `refusing` has no space. `manifests`
    and `blobs` are what was pushed, by digest. `runs` tells whether a RUN with this text is being executed.
    `keeps_images`: the engine does, and not the worker.
    """

    engine: Engine
    down: Engine
    prefix: str
    refusing: str
    manifests: Mapping[str, bytes]
    labels: Labels
    runs: Callable[[str], bool]
    blobs: Mapping[str, bytes] = field(default_factory=dict)
    keeps_images: bool = True
    told: list[Progress] = field(default_factory=list)
    mark: str = field(default_factory=lambda: uuid.uuid4().hex[:12])

    def image(self, tag: str = "1") -> str:
        return f"{self.prefix}app:{tag}"

    async def build(
        self,
        dockerfile: str | None,
        *,
        files: Mapping[str, bytes | str] | None = None,
        image: str = "",
        name: str = "Dockerfile",
        key: str = "",
        **more: Any,
    ) -> list[Progress]:
        """Build from these files, which can be had one by one if they have a `key`; what was reported, which is also in
        `told` as it comes."""
        contents = dict(files or {}) | ({} if dockerfile is None else {name: dockerfile})
        held = HeldFiles({"busybox": the_busybox(), **contents}, key=key) if key else None
        request = BuildRequest(id=self.mark, image=image or self.image(), dockerfile=name, files=held, **more)
        self.told = []
        await self.engine.build(request, stream(context_tar(contents)), self.told.append)
        return self.told

    def last_states(self) -> dict[str, StepState]:
        """The instructions, such as `RUN make`, each with its last state. How they are counted is the engine's own."""
        steps = [each for each in self.told if isinstance(each, Step) and PLACE.match(each.name)]
        return {PLACE.sub("", step.name): step.state for step in steps}

    def output(self) -> list[str]:
        return printed(self.told)


def _bench(
    engine: Engine, down: Engine, registry: PushSink, full: PushSink, labels: Labels, path: str = "lumper/"
) -> Bench:
    """A bench of a real engine: its images are pushed to `registry`, and refused by `full`, below this path."""
    return Bench(
        engine=engine,
        down=down,
        prefix=f"{registry.address}/{path}",
        refusing=f"{full.address}/{path}",
        manifests=registry.manifests,
        labels=labels,
        runs=_is_running,
        blobs=registry.blobs,
    )


@asynccontextmanager
async def _dummy(_: Path, __: Daemons) -> AsyncIterator[Bench]:
    engine = DummyEngine(refusals={"full.test": "no space left on device"})

    async def labels(image: str) -> Mapping[str, str]:
        return engine.labels(image)

    yield Bench(
        engine=engine,
        down=DummyEngine(down=True),
        prefix="registry.test/lumper/",
        refusing="full.test/lumper/",
        manifests=engine.pushed,
        labels=labels,
        runs=lambda text: any(text in command for command in engine.running),
    )
    await engine.close()


@asynccontextmanager
async def _buildkit(
    folder: Path, _: Daemons, open_target: OpenTarget | None = None, incremental_from: int = INCREMENTAL_FROM
) -> AsyncIterator[Bench]:
    async with _engine(docker_engine.ADDRESS, folder, open_target, incremental_from) as bench:
        yield bench


@asynccontextmanager
async def _newer(folder: Path, daemons: Daemons) -> AsyncIterator[Bench]:
    async with _engine(f"unix://{daemons.newer_engine()}", folder) as bench:
        yield bench


@asynccontextmanager
async def _engine(
    address: str, folder: Path, open_target: OpenTarget | None = None, incremental_from: int = INCREMENTAL_FROM
) -> AsyncIterator[Bench]:
    engine = BuildKitEngine(address, open_target=open_target, incremental_from=incremental_from)
    down = BuildKitEngine(f"unix://{folder}/docker.sock", open_target=open_target)
    path = f"lumper-test-{uuid.uuid4().hex[:8]}/"

    async def labels(image: str) -> Mapping[str, str]:
        async with aiodocker.Docker(address) as docker:
            return dict((await docker.images.inspect(image))["Config"]["Labels"] or {})

    async with push_sink() as registry, push_sink(refusal="no space left on device") as full:
        try:
            yield _bench(engine, down, registry, full, labels, path)
        finally:
            for host in (registry.address, full.address):
                for name in await engine.images(f"{host}/"):
                    await engine.remove(name)
            await engine.close()
            await down.close()


@asynccontextmanager
async def _buildah(folder: Path, _: Daemons) -> AsyncIterator[Bench]:
    async with push_sink() as registry, push_sink(refusal="no space left on device") as full:

        async def size(image: str, digest: str, login: Login | None) -> int:
            return len(registry.manifests.get(digest, b""))

        async def labels(image: str) -> Mapping[str, str]:
            told = json.loads(await _output("buildah", *place.arguments, "inspect", "--type=image", image))
            return dict(told["Docker"]["config"]["Labels"] or {})

        place = BuildahHome(folder / "buildah")
        engine = BuildahEngine(folder / "buildah", size)
        try:
            down = BuildahEngine(folder / "down", size, program=f"{folder}/buildah")
            yield _bench(engine, down, registry, full, labels)
            assert await _output("buildah", *place.arguments, "containers", "--quiet") == b""
            left = [*place.volatile.glob("*"), *place.base.glob("work/*")]
            assert {path.name for path in left} <= {"run", "tmp"}
        finally:
            await engine.close()
            for each in (place, BuildahHome(folder / "down")):
                remove_storage(each)


def remove_storage(place: BuildahHome) -> None:
    """Remove all that buildah keeps there: its storage is a mount, and nothing may be built any more."""
    subprocess.run(["umount", "--recursive", "--quiet", place.base / "storage/overlay"], check=False)
    for folder in (place.base, place.volatile):
        shutil.rmtree(folder, ignore_errors=True)


async def _output(*command: str) -> bytes:
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    assert process.returncode == 0, command
    return output


@asynccontextmanager
async def any_buildkitd(daemons: Daemons) -> AsyncIterator[str]:
    """The address of the program where there is one, else of the newer engine's own."""
    if shutil.which("buildkitd"):
        yield f"unix://{daemons.buildkitd()}"
    else:
        async with behind_a_socket(daemons.newer_engine()) as address:
            yield address


@asynccontextmanager
async def _beside_buildkitd(daemons: Daemons) -> AsyncIterator[tuple[str, PushSink, PushSink]]:
    """The address of a buildkitd, a registry, and one that has no space."""
    async with contextlib.AsyncExitStack() as stack:
        address = await stack.enter_async_context(any_buildkitd(daemons))
        registry = await stack.enter_async_context(push_sink())
        full = await stack.enter_async_context(push_sink(refusal="no space left on device"))
        yield address, registry, full


def _with_layout(engine: Engine, down: Engine, layout: Path, registry: PushSink, full: PushSink) -> Bench:
    """A bench whose worker keeps the images, in this OCI layout."""

    async def labels(image: str) -> Mapping[str, str]:
        return labels_in(layout, image)

    return replace(_bench(engine, down, registry, full, labels), keeps_images=False)


@asynccontextmanager
async def _buildkitd(folder: Path, daemons: Daemons) -> AsyncIterator[Bench]:
    async with _beside_buildkitd(daemons) as (address, registry, full):
        engine = DaemonEngine(parse_address(f"buildkitd+{address}"), folder / "images", open_target)
        down = DaemonEngine(parse_address(f"buildkitd+unix://{folder}/none"), folder / "down", open_target)
        yield _with_layout(engine, down, folder / "images", registry, full)


@asynccontextmanager
async def _buildx(folder: Path, daemons: Daemons) -> AsyncIterator[Bench]:
    async with _beside_buildkitd(daemons) as (address, registry, full), remote_builder(address) as builder:
        engine = BuildxEngine(builder, folder / "buildx", open_target, path=str(newer_engine.BUILDX))
        down = BuildxEngine(builder, folder / "down", open_target, path=f"{folder}/docker-buildx")
        yield _with_layout(engine, down, folder / "buildx/images", registry, full)
        left = [*Workshop(folder / "buildx", "buildx").volatile.glob("*"), *folder.glob("buildx/work/*")]
        assert left == []
    for base in ("buildx", "down"):
        shutil.rmtree(Workshop(folder / base, "buildx").volatile, ignore_errors=True)


@asynccontextmanager
async def remote_builder(address: str) -> AsyncIterator[str]:
    """A builder of buildx on the buildkitd at this address; its name."""
    name = f"lumper-{uuid.uuid4().hex[:8]}"
    await _output(str(newer_engine.BUILDX), "create", "--name", name, "--driver", "remote", address)
    try:
        yield name
    finally:
        await _output(str(newer_engine.BUILDX), "rm", name)


def labels_in(layout: Path, image: str) -> Mapping[str, str]:
    """The labels of an image in an OCI layout, read as any other program would."""

    def blob(digest: str) -> Any:
        return json.loads((layout / "blobs" / digest.replace(":", "/")).read_bytes())

    entries = json.loads((layout / "index.json").read_bytes())["manifests"]
    [digest] = [e["digest"] for e in entries if e["annotations"]["org.opencontainers.image.ref.name"] == image]
    return dict(blob(blob(digest)["config"]["digest"])["config"].get("Labels") or {})


def _is_running(text: str) -> bool:
    """Whether a process has this text in its command line."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if text.encode() in path.read_bytes().replace(b"\0", b" "):
                return True
        except OSError:  # it ended meanwhile
            continue
    return False


BENCHES: dict[str, tuple[Callable[[Path, Daemons], AbstractAsyncContextManager[Bench]], frozenset[Capability]]] = {
    "buildkit": (_buildkit, CAPABILITIES["a Docker Engine"]),
    "direct": (partial(_buildkit, open_target=open_target), CAPABILITIES["a Docker Engine"]),
    "incremental": (partial(_buildkit, incremental_from=0), CAPABILITIES["a Docker Engine"]),
    "buildah": (_buildah, CAPABILITIES["buildah"]),
    "newer engine": (_newer, CAPABILITIES["a Docker Engine with the containerd image store"]),
    "buildkitd": (_buildkitd, CAPABILITIES["buildkitd"]),
    "buildx": (_buildx, CAPABILITIES["docker buildx"]),
    "dummy": (_dummy, frozenset({Capability.DOCKERFILE_APART})),
}
"""Each engine, and what it can according to the table; the dummy can nothing beyond what it shows. `direct` is left out
of its pushes; `incremental` gets its contexts file by file."""


def having(*capabilities: Capability) -> list[ParameterSet]:
    """The engines with all of these."""
    return engines(name for name, (_, known) in BENCHES.items() if known.issuperset(capabilities))


def engines(names: Iterable[str]) -> list[ParameterSet]:
    """These engines as parameters; all but the dummy need a builder."""
    return [pytest.param(name, marks=() if name == "dummy" else pytest.mark.docker) for name in names]


@asynccontextmanager
async def engine_bench(name: str, folder: Path, daemons: Daemons) -> AsyncIterator[Bench]:
    """The engine of this name, ready to build."""
    make, _ = BENCHES[name]
    async with make(folder, daemons) as bench:
        yield bench
