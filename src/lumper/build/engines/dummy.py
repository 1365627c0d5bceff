"""An engine that executes nothing: deterministic, in memory, for tests and for trying Lumper without Docker.

It knows enough of a Dockerfile to show every way in which a build goes:

    FROM scratch | FROM <earlier stage>     any other base image "cannot be fetched"
    COPY, ADD, WORKDIR                      counted as steps; missing sources fail
    RUN echo TEXT [>&2]                     prints, with $ARG replaced
    RUN --mount=… cat /run/secrets/ID       prints a secret of the request, or fails
    RUN exit N                              fails with N
    RUN sleep SECONDS | RUN wait            takes that long | blocks until it is cancelled
    RUN anything else                       succeeds
    several commands in one RUN             `;` or `&&` between them

A step whose text, arguments, parents and copied files were seen before is cached, and counts as STEP_SIZE bytes.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import itertools
import json
import re
import shlex
import tarfile
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from lumper.build.engines.push_step import FIRST_PUSH, PushStep
from lumper.build.engines.registry_words import push_error
from lumper.build.port import BuildRequest, Capability, EngineInfo, Login, Pushed, Report
from lumper.errors import BuildFailed, DockerfileMissing, EngineError, EngineUnavailable
from lumper.model.builds.build import Output, Step, StepState
from lumper.model.images.image import digest_of

STEP_SIZE = 1 << 20

_STEPS = ("COPY", "ADD", "RUN", "WORKDIR")
_SILENT = (
    "ARG CMD ENTRYPOINT ENV EXPOSE HEALTHCHECK LABEL MAINTAINER ONBUILD SHELL STOPSIGNAL USER VOLUME".split()  # noqa: SIM905
)


@dataclass(frozen=True)
class _Line:
    """An instruction. `number` is its first line in the Dockerfile."""

    number: int
    keyword: str
    text: str

    def __str__(self) -> str:
        return f"{self.keyword} {self.text}".strip()


@dataclass
class _Stage:
    base: str
    name: str
    lines: list[_Line] = field(default_factory=list)


@dataclass(frozen=True)
class _Image:
    key: str
    labels: Mapping[str, str]

    @property
    def manifest(self) -> bytes:
        return json.dumps({"schemaVersion": 2, "key": self.key, "annotations": dict(self.labels)}).encode()


class DummyEngine:
    """Implements the port. `down` makes every call fail; `refusals` maps a registry host to why it takes no push.

    `push_troubles` are what the first pushes fail with, one each; `capabilities` are what it says that it can, though
    it does none of it.

    `running` are the commands under way, `pushed` the manifests that were pushed, by digest; `requests` are those for
    builds, in order.
    """

    def __init__(
        self,
        *,
        down: bool = False,
        refusals: Mapping[str, str] | None = None,
        push_troubles: Iterable[EngineError] = (),
        capabilities: Iterable[Capability] = Capability,
    ) -> None:
        self._capabilities = frozenset(capabilities)
        self._push_troubles = list(push_troubles)
        self.running: list[str] = []
        self.requests: list[BuildRequest] = []
        self.pushed: dict[str, bytes] = {}
        self._down = down
        self._refusals = dict(refusals or {})
        self._cache: dict[str, None] = {}  # what was used last stands last
        self._images: dict[str, _Image] = {}
        self._push_numbers = itertools.count(FIRST_PUSH)

    async def info(self) -> EngineInfo:
        self._check()
        return EngineInfo("dummy", "dummy 1", "linux/amd64", self._capabilities)

    async def build(self, request: BuildRequest, context: AsyncIterator[bytes], report: Report) -> None:
        self._check()
        self.requests.append(request)
        files = _read_tar(b"".join([chunk async for chunk in context]))
        if request.dockerfile not in files:
            raise DockerfileMissing(f"There is no {request.dockerfile} at this commit.")
        stages = _parse(files[request.dockerfile].decode("utf-8", "replace"), request.dockerfile)
        if request.context_folder:
            place = f"{request.context_folder}/"
            files = {name.removeprefix(place): data for name, data in files.items() if name.startswith(place)}
        self._images[request.image] = await _Build(self, self._cache, request, files, stages, report).run()

    async def push(self, image: str, login: Login | None, report: Report) -> Pushed:
        self._check()
        if self._push_troubles:
            raise self._push_troubles.pop(0)
        step = PushStep(image, next(self._push_numbers), report, time.time)
        with step.under_way():
            refusal = self._refusals.get(image.partition("/")[0])
            if refusal is None and image not in self._images:
                refusal = f"there is no such image {image}"
            if refusal is not None:
                raise push_error(image, refusal)
            manifest = self._images[image].manifest
            digest = digest_of(manifest)
            self.pushed[digest] = manifest
            step.say(f"{digest[7:19]}: Pushed")
        return Pushed(digest, len(manifest))

    async def remove(self, image: str) -> None:
        self._check()
        self._images.pop(image, None)

    async def images(self, prefix: str) -> list[str]:
        self._check()
        return sorted(name for name in self._images if name.startswith(prefix))

    async def cache_size(self) -> int:
        self._check()
        return len(self._cache) * STEP_SIZE

    async def prune(self, keep: int) -> int:
        self._check()
        gone = list(self._cache)[: max(0, len(self._cache) - keep // STEP_SIZE)]
        for key in gone:
            del self._cache[key]
        return len(gone) * STEP_SIZE

    async def close(self) -> None:
        pass

    def labels(self, image: str) -> Mapping[str, str]:
        """The labels of an image that was built."""
        return self._images[image].labels

    def _check(self) -> None:
        if self._down:
            raise EngineUnavailable("The build engine at dummy cannot be reached: it is down.")


class _Build:
    """One build on its way."""

    def __init__(
        self,
        engine: DummyEngine,
        cache: dict[str, None],
        request: BuildRequest,
        files: Mapping[str, bytes],
        stages: list[_Stage],
        report: Report,
    ) -> None:
        self._engine = engine
        self._cache = cache
        self._request = request
        self._files = files
        self._stages = stages
        self._report = report
        self._numbers = itertools.count(1)
        self._labels: dict[str, str] = {}
        self._done: dict[str, str] = {}

    async def run(self) -> _Image:
        wanted = self._request.target or self._stages[-1].name
        if wanted not in (stage.name for stage in self._stages):
            raise BuildFailed(f"The build failed: target stage {wanted} could not be found.")
        key = await self._stage(wanted)
        self._tell(next(self._numbers), "exporting to image", StepState.RUNNING, StepState.DONE)
        return _Image(key, {**self._labels, **self._request.labels})

    async def _stage(self, name: str) -> str:
        """Build a stage with all that it needs; its key."""
        stage = next(stage for stage in self._stages if stage.name == name)
        if name in self._done:
            return self._done[name]
        key = "scratch" if stage.base == "scratch" else await self._base(stage)
        steps = [line for line in stage.lines if line.keyword in _STEPS]
        prefix = f"{name} " if len(self._stages) > 1 else ""
        args: dict[str, str] = {}
        for line in stage.lines:
            if line.keyword in _STEPS:
                title = f"[{prefix}{steps.index(line) + 1}/{len(steps)}] {line}"
                key = await self._step(title, line, key, args)
            elif line.keyword == "LABEL":
                self._labels |= dict(pair.partition("=")[::2] for pair in shlex.split(line.text))
            elif line.keyword == "ARG":
                arg, _, default = line.text.partition("=")
                args[arg] = self._request.args.get(arg, default)
        self._done[name] = key
        return key

    async def _base(self, stage: _Stage) -> str:
        if stage.base in (earlier.name for earlier in self._stages[: self._stages.index(stage)]):
            return await self._stage(stage.base)
        name = f"[internal] load metadata for {stage.base}"
        error = "there is no network"
        self._tell(next(self._numbers), name, StepState.RUNNING, StepState.FAILED, error=error)
        raise BuildFailed(f"The base image {stage.base} cannot be fetched: {error}.", step=name)

    async def _step(self, title: str, line: _Line, parent: str, args: Mapping[str, str]) -> str:
        content, missing = b"", ""
        if line.keyword in ("COPY", "ADD"):
            words = line.text.split()
            if words[0].startswith("--from="):
                content = (await self._stage(words[0].removeprefix("--from="))).encode()
            else:
                content, missing = self._copied(words[:-1])
        key = _digest(parent, str(line), json.dumps(dict(args), sort_keys=True), content)
        number = next(self._numbers)
        if missing:
            self._tell(number, title, StepState.RUNNING, StepState.FAILED, error=f"{missing} not found")
            raise BuildFailed(f"Step `{title}` failed: {missing} not found.", step=title)
        if key in self._cache and not self._request.no_cache:
            self._cache[key] = self._cache.pop(key)
            self._tell(number, title, StepState.CACHED)
            return key
        self._tell(number, title, StepState.RUNNING)
        if line.keyword == "RUN":
            await self._run(number, title, line.text, args)
        self._tell(number, title, StepState.DONE)
        self._cache[key] = None
        return key

    def _copied(self, sources: list[str]) -> tuple[bytes, str]:
        """What the sources hold, and the first of them that is not there."""
        content = b""
        for source in sources:
            path = source.removeprefix("./").strip("/")
            names = [n for n in sorted(self._files) if path in ("", ".") or n == path or n.startswith(f"{path}/")]
            if not names:
                return b"", f'"/{path}"'
            content += b"".join(name.encode() + b"\0" + self._files[name] for name in names)
        return content, ""

    async def _run(self, number: int, title: str, text: str, args: Mapping[str, str]) -> None:
        self._engine.running.append(text)
        try:
            code = await self._commands(number, text, args)
        except asyncio.CancelledError:
            self._tell(number, title, StepState.CANCELLED)
            raise
        finally:
            self._engine.running.remove(text)
        if code:
            self._tell(number, title, StepState.FAILED, error=f"exit code: {code}")
            raise BuildFailed(f"Step `{title}` ended with exit code {code}.", step=title, exit_code=code)

    async def _commands(self, number: int, text: str, args: Mapping[str, str]) -> int:
        for command in re.split(r";|&&", text):
            match [word for word in shlex.split(command) if not word.startswith("--mount=")]:
                case ["cat", path] if path.startswith("/run/secrets/"):
                    secret = self._request.secrets.get(path.removeprefix("/run/secrets/"))
                    if secret is None:
                        return 1
                    self._report(Output(number, 1, time.time(), secret.decode("utf-8", "replace")))
                case ["echo", *words]:
                    stream = 2 if ">&2" in words else 1
                    line = " ".join(word for word in words if word != ">&2")
                    line = re.sub(r"\$\{?(\w+)\}?", lambda found: args.get(found[1], ""), line)
                    self._report(Output(number, stream, time.time(), line))
                case ["exit", code]:
                    return int(code)
                case ["sleep", seconds]:
                    await asyncio.sleep(float(seconds))
                case ["wait"]:
                    await asyncio.Event().wait()
        return 0

    def _tell(self, number: int, name: str, *states: StepState, error: str = "") -> None:
        for state in states:
            self._report(Step(number, name, state, time.time(), error if state is StepState.FAILED else ""))


def _read_tar(data: bytes) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            for member in archive:
                content = archive.extractfile(member) if member.isfile() else None
                if content is not None:
                    files[member.name.removeprefix("./")] = content.read()
    except tarfile.TarError as exc:
        raise BuildFailed(f"The build failed: the context is not a tar archive ({exc}).") from exc
    return files


def _lines(text: str) -> Iterator[_Line]:
    """Instructions, with continued lines joined."""
    first, joined = 0, ""
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        first = first if joined else number
        joined += line.strip()
        if joined.endswith("\\"):
            joined = joined[:-1]
            continue
        keyword, _, rest = joined.partition(" ")
        yield _Line(first, keyword.upper(), rest.strip())
        joined = ""


def _parse(text: str, dockerfile: str) -> list[_Stage]:
    stages: list[_Stage] = []
    for line in _lines(text):
        if line.keyword == "FROM":
            words = line.text.split()
            named = len(words) == 3 and words[1].upper() == "AS"
            stages.append(_Stage(words[0], words[2] if named else f"stage-{len(stages)}"))
        elif line.keyword not in (*_STEPS, *_SILENT):
            raise BuildFailed(f"{dockerfile}, line {line.number}: unknown instruction: {line.keyword}.")
        elif stages:
            stages[-1].lines.append(line)
        elif line.keyword != "ARG":
            raise BuildFailed(f"{dockerfile}, line {line.number}: no build stage in current context.")
    if not stages:
        raise BuildFailed(f"{dockerfile} is empty.")
    return stages


def _digest(*parts: str | bytes) -> str:
    whole = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        whole.update(len(data).to_bytes(8) + data)
    return whole.hexdigest()
