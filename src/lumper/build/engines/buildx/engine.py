"""The Engine of `build/port.py` by the `buildx` program, on a builder that the operator has made.

A build ends when its image lies in a folder of the worker; pushes start from there, without buildx and without another
build. What buildx says is what BuildKit says, so that steps and errors are read as those of the native engine.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from lumper.build.capabilities import CAPABILITIES
from lumper.build.engines.buildkit.building import close_context
from lumper.build.engines.buildkit.errors import build_error, is_lost
from lumper.build.engines.buildkit.progress import ProgressReader
from lumper.build.engines.buildkit.push.kept_images import KeptImages
from lumper.build.engines.buildkit.push.layout import Descriptor, Layout
from lumper.build.engines.buildx.commands import Shop, build_arguments
from lumper.build.engines.buildx.context import spool, without_syntax_image
from lumper.build.engines.buildx.program import HINT, environment, find_buildx
from lumper.build.engines.buildx.rawjson import RawJsonReader
from lumper.build.engines.programs.logins import auth_file
from lumper.build.engines.programs.process import Program
from lumper.build.engines.programs.refusals import refuse
from lumper.build.engines.programs.workshop import Folders, Workshop
from lumper.build.port import BuildRequest, EngineInfo, Login, Report
from lumper.build.target import OpenTarget

_INFO_TIMEOUT = 60.0
_FIELD = re.compile(r"^(?P<name>[A-Z][A-Za-z ]+?):[ \t]+(?P<value>.+?)\s*$", re.MULTILINE)
_VERSION = re.compile(r"(\d+\.\d+\.\d+)")
_SIZE = re.compile(r"^(?:Reclaimable|Total):\s+([\d.]+)\s*([kMGTP]?)B\s*$", re.MULTILINE)
_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15}
_NO_BUILDER = re.compile(r"no builder \"|failed to find driver|no valid drivers|connection refused|connect: |dial unix")


class BuildxEngine(KeptImages):
    """Builds on `builder`, as `docker buildx create --name` calls it; `base` is a folder for images and contexts.

    `open_target` reaches registries. `path` is that of the program.
    """

    def __init__(self, builder: str, base: Path, open_target: OpenTarget, *, path: str = "") -> None:
        super().__init__(base / "images", open_target)
        self._builder = builder
        self._path = path or find_buildx()
        self._workshop = Workshop(base, "buildx")

    async def info(self) -> EngineInfo:
        program = await self._program()
        version = _VERSION.search((await program.run("version")).output.decode("utf-8", "replace"))
        async with asyncio.timeout(_INFO_TIMEOUT):
            inspected = await program.run("inspect", "--bootstrap", "--", self._builder)
        told = inspected.output.decode("utf-8", "replace")
        fields = {found["name"]: found["value"] for found in _FIELD.finditer(told)}
        if inspected.code or "Platforms" not in fields:
            raise program.unavailable(fields.get("Error") or _last(inspected.words) or "the builder does not run")
        if fields.get("Driver") == "docker":
            raise program.unavailable("it is the Docker Engine's own, which can no more than the Engine")
        name = f"buildx {version[1] if version else '?'} with BuildKit {fields.get('BuildKit version', '?')}"
        platform = fields["Platforms"].partition(",")[0].strip("* ")
        return EngineInfo("buildx", name, platform, CAPABILITIES["docker buildx"])

    async def build(self, request: BuildRequest, context: AsyncIterator[bytes], report: Report) -> None:
        progress = ProgressReader(report)
        try:
            await self._program()
            async with self._workshop.folders() as folders:
                await spool(context, folders.work / "context.tar")
                shop = await asyncio.to_thread(_shop, request, folders)
                await self._build(request, shop, progress, self._called(folders.work, folders.secret / "docker"))
                await asyncio.to_thread(self._adopt, shop.result, request.image)
        finally:
            progress.finish()
            await close_context(context)

    async def _build(self, request: BuildRequest, shop: Shop, progress: ProgressReader, program: Program) -> None:
        await refuse(request)
        reader = RawJsonReader(progress.receive)
        with await asyncio.to_thread(shop.context.open, "rb") as tar:
            code = await program.attend(build_arguments(request, shop, self._builder), reader.hear, tar.fileno())
        reader.finish()
        if not code:
            return
        text = reader.error or f"buildx ended with exit code {code}"
        if not progress.failures and (_NO_BUILDER.search(text) or is_lost(text)):
            raise program.unavailable(_last(text))
        raise build_error(text, progress.failures, request.dockerfile)

    def _adopt(self, result: Path, image: str) -> None:
        """Take what a build left in its folder among the images. Blocking."""
        made = Layout(result)
        entry = json.loads((result / "index.json").read_bytes())["manifests"][0]
        found = Descriptor(str(entry["mediaType"]), str(entry["digest"]), int(entry["size"]))
        digests = {blob.digest for blob in made.blobs(found)}
        for digest in digests:
            self._layout.pin(digest)
        try:
            for digest in digests:
                target = self._layout.path(digest)
                target.parent.mkdir(parents=True, exist_ok=True)
                made.path(digest).replace(target)
            self._layout.put(image, found)
        finally:
            self._layout.let_go(digests)

    async def cache_size(self) -> int:
        program = await self._program()
        told = await program.run("du", f"--builder={self._builder}")
        sizes = _SIZE.findall(told.output.decode("utf-8", "replace"))
        if told.code:
            raise program.unavailable(_last(told.words))
        return int(float(sizes[0][0]) * _UNITS[sizes[0][1]]) if sizes else 0

    async def prune(self, keep: int) -> int:
        before = await self.cache_size()
        if before <= keep:
            return 0
        program = await self._program()
        new = b"--max-used-space" in (await program.run("prune", "--help")).output
        limit = f"--{'max-used-space' if new else 'keep-storage'}={max(1, keep)}"  # a limit of 0 means none
        pruned = await program.run("prune", "--force", "--all", f"--builder={self._builder}", limit)
        if pruned.code:
            raise program.unavailable(_last(pruned.words))
        return max(0, before - await self.cache_size())

    async def close(self) -> None:
        """Nothing stays open between calls."""

    async def _program(self) -> Program:
        """The program without any login, in a place that is ready. Raises EngineUnavailable."""
        await asyncio.to_thread(self._workshop.prepare)
        work = self._workshop.base / "work"
        return self._called(work, work)

    def _called(self, home: Path, login: Path) -> Program:
        return Program([self._path], environment(home, login), f"buildx:{self._builder}", HINT)


def _shop(request: BuildRequest, folders: Folders) -> Shop:
    """Everything of one build in its folders, whose context is there. Blocking. Raises EngineError."""
    context = folders.work / "context.tar"
    if not request.frontend:
        context = without_syntax_image(context, request.dockerfile)
    (folders.secret / "docker").mkdir(mode=0o700)
    folders.keep("docker/config.json", auth_file(_for_docker(request.logins)))
    secrets = {
        name: folders.keep(f"secret-{number}", secret) for number, (name, secret) in enumerate(request.secrets.items())
    }
    return Shop(context, secrets, folders.work / "result")


def _for_docker(logins: Mapping[str, Login]) -> dict[str, Login]:
    """Docker's own name of Docker Hub's login."""
    return {("https://index.docker.io/v1/" if host == "docker.io" else host): login for host, login in logins.items()}


def _last(words: str) -> str:
    lines = [line for line in words.splitlines() if line.strip()]
    return lines[-1].removeprefix("ERROR: ") if lines else ""
