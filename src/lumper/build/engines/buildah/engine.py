"""The Engine of `build/port.py` by the `buildah` program."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path

from lumper.build.engines.buildah.ability import Ability, find_ability
from lumper.build.engines.buildah.cache_ids import with_own_ids
from lumper.build.engines.buildah.commands import Shop, build_arguments, push_arguments
from lumper.build.engines.buildah.errors import build_error
from lumper.build.engines.buildah.home import BuildahHome
from lumper.build.engines.buildah.progress import StepReader
from lumper.build.engines.buildah.push import PushReader
from lumper.build.engines.buildah.storage import kept_name
from lumper.build.engines.programs.logins import auth_file
from lumper.build.engines.programs.process import Program, end_orphans
from lumper.build.engines.programs.refusals import refuse
from lumper.build.engines.programs.unpack import find_dockerfile, unpack
from lumper.build.engines.programs.workshop import Folders
from lumper.build.engines.push_step import FIRST_PUSH
from lumper.build.port import BuildRequest, EngineInfo, Login, Pushed, Report
from lumper.errors import EngineError
from lumper.model.builds.build import StepState

Measure = Callable[[str, str, Login | None], Awaitable[int]]
"""From an image's name, the digest that was pushed, and what it was pushed with, to the manifest's size in bytes."""

_HINT = "Install it (Debian: `apt-get install buildah`) or set [worker] engine; `lumper doctor` checks it."
_NO_PATIENCE, _MOST_PATIENCE = 10.0, 320.0  # seconds; much less than a build may take, as those that wait count them
_WAITING = "buildah's cache is over its limit: this build waits until it was cut"
_UNKNOWN = ("image not known", "no such image")


class BuildahEngine:
    """Keeps its images below `base`, apart from those of the machine's other programs.

    `measure` tells a manifest's size, which buildah does not. `program` is its name or path.
    """

    def __init__(self, base: Path, measure: Measure, *, program: str = "buildah") -> None:
        self._place = BuildahHome(base)
        self._measure = measure
        self._program = Program([program, *self._place.arguments], self._place.environment(), "buildah", _HINT)
        self._push_numbers = itertools.count(FIRST_PUSH)
        self._preparing = asyncio.Lock()
        self._patience = _NO_PATIENCE
        self._ability: Ability | None = None

    async def info(self) -> EngineInfo:
        ability = await self._ready()
        note = f" ({ability.note})" if ability.note else ""
        return EngineInfo("buildah", f"Buildah {ability.version}{note}", ability.platform, ability.capabilities)

    async def build(self, request: BuildRequest, context: AsyncIterator[bytes], report: Report) -> None:
        done = False
        try:
            ability = await self._ready()
            await refuse(request)
            reader = StepReader(report, time.time)
            async with self._place.shared(lambda: reader.remark(_WAITING)), self._place.folders() as folders:
                await unpack(context, folders.work / "context")
                shop = _shop(request, folders)
                await self._build(request, shop, ability, reader)
            done = True
        finally:
            await _close(context)
            if not done:
                await self._sweep()

    async def _build(self, request: BuildRequest, shop: Shop, ability: Ability, reader: StepReader) -> None:
        try:
            await self._attend(build_arguments(request, shop, ability), request, shop, reader)
            if await self._mixed_up(request):
                reader.remark("buildah took layers of one platform for another: it builds again, without its cache")
                await self._attend(
                    build_arguments(replace(request, no_cache=True), shop, ability), request, shop, reader
                )
        except asyncio.CancelledError:
            reader.finish(StepState.CANCELLED)
            raise

    async def _attend(self, arguments: Sequence[str], request: BuildRequest, shop: Shop, reader: StepReader) -> None:
        if len(request.platforms) > 1:  # or what is built now would only be added
            await self._program.run("manifest", "rm", "--", request.image)
        code = await self._program.attend(arguments, reader.hear)
        if not code:
            reader.finish(StepState.DONE)
            return
        content = await asyncio.to_thread(shop.dockerfile.read_text, "utf-8", "replace")
        text = reader.error or f"buildah ended with exit code {code}"
        error = build_error(text, reader.step, reader.trouble, request.dockerfile, content)
        reader.finish(StepState.FAILED, error.message)
        raise error

    async def _mixed_up(self, request: BuildRequest) -> bool:
        """Whether a platform is missing: buildah 1.28 takes what is built from `scratch` to be of any platform."""
        if not request.platforms or request.no_cache:
            return False
        if len(request.platforms) > 1:
            told = json.loads(await self._run("manifest", "inspect", "--", request.image))
            made = {(one["platform"]["os"], one["platform"]["architecture"]) for one in told["manifests"]}
        else:
            told = json.loads(await self._run("inspect", "--type=image", "--", request.image))["OCIv1"]
            made = {(told["os"], told["architecture"])}
        return made != {tuple(platform.split("/")[:2]) for platform in request.platforms}

    async def push(self, image: str, login: Login | None, report: Report) -> Pushed:
        await self._ready()
        reader = PushReader(image, next(self._push_numbers), report, time.time)
        with reader.under_way():
            return await self._push(image, login, reader)

    async def _push(self, image: str, login: Login | None, reader: PushReader) -> Pushed:
        async with self._place.shared(), self._place.folders() as folders:
            several = await self._is_list(image)
            logins = {image.partition("/")[0]: login} if login else {}
            auth = folders.keep("auth.json", auth_file(logins))
            told = folders.work / "digest"
            code = await self._program.attend(
                push_arguments(image, several=several, auth=auth, digest=told), reader.hear
            )
            if code:
                raise reader.failure(f"buildah ended with exit code {code}")
            digest = told.read_text().strip()
        return Pushed(digest, await self._measure(image, digest, login))

    async def remove(self, image: str) -> None:
        await self._ready()
        async with self._place.shared():
            if await self._is_list(image):
                await self._run("manifest", "rm", "--", image)
                return
            # Its layers are the cache of the next build, and stay as long as any name has them.
            kept = await self._program.run("tag", "--", image, kept_name(time.time_ns()))
            if not (kept.code and any(word in kept.words for word in _UNKNOWN)):
                await self._run("rmi", "--", image)

    async def _is_list(self, image: str) -> bool:
        return not (await self._program.run("manifest", "exists", "--", image)).code

    async def images(self, prefix: str) -> list[str]:
        await self._ready()
        stored = await asyncio.to_thread(self._place.stored)  # `buildah images` fails over a list it just pushed
        return [name for name in stored.names if name.startswith(prefix)]

    async def cache_size(self) -> int:
        await self._ready()
        return (await asyncio.to_thread(self._place.stored)).cache_size

    async def prune(self, keep: int) -> int:
        """As the port says; but buildah would take layers from under a build, so that it needs a moment without any.

        The longer there is none, the longer new builds wait for those that are under way to end.
        """
        await self._ready()
        async with self._place.alone_within(self._patience) as alone:
            self._patience = _NO_PATIENCE if alone else min(2 * self._patience, _MOST_PATIENCE)
            stored = await asyncio.to_thread(self._place.stored)
            first = stored.cache_size
            while alone and stored.cache_size > keep and (image := stored.oldest):
                await self._run("rmi", "--force", "--", image)
                stored = await asyncio.to_thread(self._place.stored)
        return first - stored.cache_size

    async def close(self) -> None:
        pass

    async def _ready(self) -> Ability:
        """Prepare the place and find out what buildah can, the first time. Raises EngineUnavailable."""
        async with self._preparing:
            if self._ability is None:
                await asyncio.to_thread(self._place.prepare)
                async with self._place.shared():
                    self._ability = await find_ability(self._program)
                await self._sweep()
        return self._ability

    async def _sweep(self) -> None:
        """Remove what killed builds have left, unless somebody is building."""
        with self._place.alone() as alone:
            if alone:
                await asyncio.to_thread(end_orphans, self._place.base)
                await self._program.run("rm", "--all")
                await asyncio.to_thread(self._place.sweep)

    async def _run(self, *arguments: str) -> bytes:
        done = await self._program.run(*arguments)
        if done.code:
            raise EngineError(f"buildah {arguments[0]} failed: {done.words.removeprefix('Error: ')}")
        return done.output


def _shop(request: BuildRequest, folders: Folders) -> Shop:
    """Everything of one build in its folders. Blocking for a moment. Raises DockerfileMissing, BuildRefused."""
    context = folders.work / "context"
    dockerfile = folders.work / "Dockerfile"
    text = find_dockerfile(context, request.dockerfile).read_bytes()
    dockerfile.write_bytes(with_own_ids(text, request.cache_mounts))
    return Shop(
        context=context / request.context_folder,
        dockerfile=dockerfile,
        ignore=folders.keep("ignore", b""),  # whoever made the context has heeded its .dockerignore
        auth=folders.keep("auth.json", auth_file(request.logins)),
        secrets={
            name: folders.keep(f"secret-{number}", secret)
            for number, (name, secret) in enumerate(request.secrets.items())
        },
    )


async def _close(context: AsyncIterator[bytes]) -> None:
    """Let a generator run its `finally` now, wherever the build left it."""
    close = getattr(context, "aclose", None)
    if close is not None:
        await close()
