"""A whole registry into another one: every tag of every repository, again and again until all are there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from lumper.errors import LumperError, RemoteError, RemoteNotFound, RemoteUnauthorized
from lumper.registry.remote.registry import RemoteRegistry
from lumper.registry.transfer.copy import Copier, Watcher, first_of
from lumper.registry.transfer.source import RemoteSource

_PARALLEL = 3  # images on their way
_GLOB = frozenset("*?[")
_NO_CATALOG = "Check the user name and password; if it lists no repositories, --repository names them, each whole."


@dataclass(frozen=True)
class Outcome:
    """What became of a tag: "copied", "there" before, "would" be copied, or "failed", and why."""

    repository: str
    tag: str
    state: str
    why: str = ""
    digest: str = ""
    bytes: int = 0


class Mirror:
    """Copies all tags that fit the globs; without globs, all."""

    def __init__(
        self,
        source: RemoteRegistry,
        target: RemoteRegistry,
        watcher: Watcher,
        *,
        repositories: Sequence[str] = (),
        tags: Sequence[str] = (),
        prefix: str = "",
        dry_run: bool = False,
        referrers: bool = False,
        again: bool = False,
    ) -> None:
        """`prefix` goes before the repositories' names at the target; `again` is that of `Copier`."""
        self._again = again
        self._source = source
        self._target = target
        self._copier = Copier(target, again=again)
        self._watcher = watcher
        self._repositories = repositories
        self._tags = tags
        self._prefix = f"{prefix.rstrip('/')}/" if prefix else ""
        self._dry_run = dry_run
        self._referrers = referrers

    async def run(self) -> AsyncIterator[Outcome]:
        """Every tag's outcome, as it is known. Raises RemoteError if the repositories cannot be listed."""
        todo: asyncio.Queue[tuple[str, str] | None] = asyncio.Queue(_PARALLEL)
        known: asyncio.Queue[Outcome | None] = asyncio.Queue()

        async def find() -> None:
            async for repository, tag, why in self._found():
                if why:
                    known.put_nowait(Outcome(repository, tag, "failed", why))
                else:
                    await todo.put((repository, tag))
            for _ in range(_PARALLEL):
                await todo.put(None)

        async def work() -> None:
            while (one := await todo.get()) is not None:
                known.put_nowait(await self._copied(*one))

        async def all_of_it() -> None:
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(find())
                    for _ in range(_PARALLEL):
                        group.create_task(work())
            finally:
                known.put_nowait(None)

        task = asyncio.create_task(all_of_it())
        try:
            while (outcome := await known.get()) is not None:
                yield outcome
            await task
        except ExceptionGroup as several:
            raise first_of(several) from several
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _found(self) -> AsyncIterator[tuple[str, str, str]]:
        """Repository and tag, or a repository whose tags are not to be had, and why."""
        async for repository in self._names():
            try:
                async for tag in self._source.tags(repository):
                    if _fits(tag, self._tags):
                        yield repository, tag, ""
            except RemoteError as exc:
                if isinstance(exc, RemoteNotFound) and repository not in self._repositories:
                    continue  # registries list repositories that have lost all their tags
                yield repository, "", exc.sentence

    async def _names(self) -> AsyncIterator[str]:
        if self._repositories and not any(_GLOB & set(one) for one in self._repositories):
            for name in self._repositories:
                yield name
            return
        try:
            async for name in self._source.repositories():
                if _fits(name, self._repositories):
                    yield name
        except RemoteError as exc:
            if exc.temporary or (exc.hint and not isinstance(exc, RemoteUnauthorized | RemoteNotFound)):
                raise
            raise RemoteError(exc.message, hint=_NO_CATALOG) from exc

    async def _copied(self, repository: str, tag: str) -> Outcome:
        name = self._prefix + repository
        try:
            there = await self._digest(self._target, name, tag, to_push=True)
            here = await self._digest(self._source, repository, tag) if there or self._dry_run else ""
            same = bool(there) and here == there and not self._again
            if same and (self._dry_run or not self._referrers):  # what refers to it may be new
                return Outcome(name, tag, "there", digest=there)
            if self._dry_run:
                return Outcome(name, tag, "would", digest=here)
            source = RemoteSource(self._source, repository, tag)
            done = await self._copier.copy(source, name, tag, self._watcher, referrers=self._referrers)
            state = "there" if same and not done.manifests else "copied"
            return Outcome(name, tag, state, digest=done.digest, bytes=done.bytes)
        except LumperError as exc:
            return Outcome(name, tag, "failed", exc.sentence)

    async def _digest(self, registry: RemoteRegistry, repository: str, tag: str, *, to_push: bool = False) -> str:
        try:
            return await registry.digest(repository, tag, to_push=to_push)
        except RemoteNotFound:
            return ""


def _fits(name: str, globs: Sequence[str]) -> bool:
    return not globs or any(fnmatchcase(name, glob) for glob in globs)
