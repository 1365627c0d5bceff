"""Checkout: the exact commit that a delivery told of, out of a bare mirror, as single files and as a tar stream."""

from __future__ import annotations

import asyncio
import errno
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path

import structlog

from lumper.build.dockerignore import IGNORE_LIMIT, parse_dockerignore
from lumper.build.git import CHUNK, Access, Git, last_words
from lumper.build.lock import hold
from lumper.build.mirror import Mirror
from lumper.build.objects import Commit, Entry, Kind, Objects, OutsideTree, printable_path
from lumper.build.reach import Reach
from lumper.build.tarstream import filtered
from lumper.errors import (
    CommitMismatch,
    DockerfileMissing,
    MirrorDamaged,
    RefNotFound,
    SourceError,
    SourceRefused,
    StorageError,
    StorageFull,
)
from lumper.model.source import Person, is_commit, is_safe_ref, parse_git_url

log = structlog.get_logger(__name__)

_PROJECT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


@dataclass(frozen=True)
class Limits:
    """What one fetch may take: seconds, and bytes of the mirror."""

    timeout: float = 600.0
    max_bytes: int = 10 << 30


@dataclass(frozen=True)
class CheckoutRequest:
    """What to check out. `commit` is the object id that the delivery told of, a commit or an annotated tag, or ""."""

    project_id: str
    url: str
    local: bool
    ref: str
    commit: str = ""
    credentials: tuple[str, str] | None = field(default=None, repr=False)


class Mirrors:
    """The mirrors of all projects, in a folder of their own. Several Lumper processes may share it.

    The ssh settings are those of `lumper.build.git.Git`.
    """

    def __init__(
        self,
        folder: Path,
        *,
        limits: Limits | None = None,
        ssh_key: Path | None = None,
        known_hosts: Path | None = None,
        strict_host_keys: bool = False,
        reach: Reach | None = None,
    ) -> None:
        self._folder = folder.absolute()
        self._reach = reach or Reach()
        self._limits = limits or Limits()
        self._git = Git(
            self._folder / "home", ssh_key=ssh_key, known_hosts=known_hosts, strict_host_keys=strict_host_keys
        )
        self._prepared = False

    @asynccontextmanager
    async def checkout(self, request: CheckoutRequest) -> AsyncIterator[Checkout]:
        """The commit of a ref; the network is asked only if the mirror does not have it yet.

        Raises SourceError (every kind of it), StorageError.
        """
        access = _access(request)
        with _disk_errors():
            if not self._prepared:
                await asyncio.to_thread(self._git.prepare)
                self._prepared = True
            mirror = Mirror(
                self._git,
                self._folder / f"{request.project_id}.git",
                self._reach,
                access.url,
                timeout=self._limits.timeout,
                max_bytes=self._limits.max_bytes,
            )
            commit = await self._known(mirror, request) or await self._fetched(mirror, request, access)
        async with Objects(self._git, mirror.path) as objects:
            checkout = Checkout(self._git, mirror, objects, commit, partial(self._have, mirror, access))
            try:
                yield checkout
            finally:
                await checkout.close()

    async def _known(self, mirror: Mirror, request: CheckoutRequest) -> Commit | None:
        name = f"refs/lumper/{request.commit}"
        if not request.commit or not await asyncio.to_thread(mirror.has, name):
            return None
        try:
            return await self._told(mirror, name, request.commit)
        except MirrorDamaged:
            return None

    async def _have(self, mirror: Mirror, access: Access, commit: str) -> None:
        """Fetch one more commit, unless it is there. Raises SourceError."""
        name = f"refs/lumper/{commit}"
        if await asyncio.to_thread(mirror.has, name):
            return
        async with hold(mirror.path.with_suffix(".lock"), self._limits.timeout) as lock:
            await mirror.fetch(lock, access, commit, name)

    async def _told(self, mirror: Mirror, name: str, told: str) -> Commit | None:
        """The commit behind our ref `name`, if it is what was told of."""
        async with Objects(self._git, mirror.path) as objects:
            found = await objects.commit(name)
        if found is None:
            return None
        object_id, commit = found
        return commit if not told or told in (object_id, commit.id) else None

    async def _fetched(self, mirror: Mirror, request: CheckoutRequest, access: Access) -> Commit:
        name = f"refs/lumper/{request.commit or 'latest'}"
        async with hold(mirror.path.with_suffix(".lock"), self._limits.timeout) as lock:
            if commit := await self._known(mirror, request):  # somebody else fetched it meanwhile
                return commit
            shown = printable_path(request.ref.removeprefix("refs/tags/"))
            missing: SourceError = CommitMismatch(f"{shown} does not point at {request.commit} any more.")
            try:
                await mirror.fetch(lock, access, request.ref, name)
                if commit := await self._told(mirror, name, request.commit):
                    return commit
            except RefNotFound as exc:
                missing = RefNotFound(f"{access.url} has no {shown}.")
                missing.__cause__ = exc
            if not request.commit:
                raise missing
            try:  # the ref was moved or deleted, and the commit may still be there
                await mirror.fetch(lock, access, request.commit, name)
                commit = await self._told(mirror, name, request.commit)
            except RefNotFound:
                commit = None
            if commit is None:
                raise missing
            return commit


class Checkout:
    """A commit that lies in the mirror. Paths are relative to the root of the repository, with `/`."""

    def __init__(
        self, git: Git, mirror: Mirror, objects: Objects, commit: Commit, fetch: Callable[[str], Awaitable[None]]
    ) -> None:
        self._git = git
        self._fetch = fetch
        self._mirror = mirror
        self._objects = objects
        self._commit = commit
        self._streams: list[AsyncGenerator[bytes]] = []

    @property
    def commit(self) -> str:
        """The commit's id."""
        return self._commit.id

    @property
    def author(self) -> Person:
        """Who wrote it."""
        return self._commit.author

    @property
    def committed_at(self) -> datetime:
        """When it was committed, in UTC."""
        return self._commit.committed_at

    @property
    def subject(self) -> str:
        """The first paragraph of its message, on one line."""
        return self._commit.subject

    @property
    def message(self) -> str:
        """The begin of its message."""
        return self._commit.message

    async def changed_since(self, before: str) -> list[str] | None:
        """The files that differ from what this commit of the repository had; None where that cannot be told.

        It is fetched if need be, alone; some servers do not give out a commit that no ref points at.
        """
        if not is_commit(before):
            return None
        try:
            await self._fetch(before)
            output = await self._git.run(
                self._mirror.path, "diff-tree", "-r", "-z", "--name-only", "--no-renames", before, self.commit
            )
        except SourceError as exc:
            log.info("what has changed is not known", action="checkout.changed", before=before, error=str(exc))
            return None
        return [name.decode("utf-8", "replace") for name in output.split(b"\0") if name]

    async def exists(self, path: str) -> bool:
        """Whether there is a file at `path`. Raises OutsideTree if a link leaves the repository."""
        entry = await self._find(self._commit.tree, path)
        return entry is not None and entry.kind is Kind.FILE

    async def read(self, path: str, limit: int) -> bytes | None:
        """A file, after symbolic links; None if there is none.

        Raises OutsideTree if a link leaves the repository, SourceError if the file is larger than `limit` bytes.
        """
        return await self._read(self._commit.tree, path, limit)

    async def dockerfile(self, context: str, dockerfile: str) -> Entry:
        """The Dockerfile, whose path is relative to the context. Raises DockerfileMissing with the place looked at."""
        shown = printable_path(dockerfile if context in ("", ".") else f"{context}/{dockerfile}")
        tree = await self._context(context)
        try:
            entry = await self._find(tree, dockerfile)
        except OutsideTree as exc:
            raise DockerfileMissing(f"{shown} is not a file of the build context: {exc}", hint=exc.hint) from exc
        if entry is None:
            raise DockerfileMissing(f"There is no {shown} at commit {self.commit[:12]}.")
        if entry.kind is not Kind.FILE:
            raise DockerfileMissing(f"{shown} at commit {self.commit[:12]} is a {entry.kind.value}, not a file.")
        return entry

    def archive(self, context: str = ".", dockerfile: str = "Dockerfile") -> AsyncIterator[bytes]:
        """A tar stream of the context folder, in chunks of about 1 MiB, without what its ignore file names.

        `<dockerfile>.dockerignore` wins over `.dockerignore`; both and the Dockerfile are always in the stream.
        Reading raises DockerfileMissing, RecipeError (the ignore file is wrong), SourceError.
        """
        stream = self._archive(context, dockerfile)
        self._streams.append(stream)
        return stream

    async def close(self) -> None:
        """End archives that were not read to their end."""
        for stream in self._streams:
            await stream.aclose()

    async def _archive(self, context: str, dockerfile: str) -> AsyncGenerator[bytes]:
        tree = await self._context(context)
        entry = await self.dockerfile(context, dockerfile)
        name, patterns = await self._ignore_file(tree, dockerfile)
        chunks = self._tar(await self._tar_of(tree))
        stream = chunks
        if patterns is not None:
            stream = filtered(chunks, parse_dockerignore(patterns, name=name), always={*entry.trail, name})
        try:
            async for chunk in stream:
                yield chunk
        finally:
            await stream.aclose()
            await chunks.aclose()

    async def _context(self, context: str) -> str:
        try:
            entry = await self._find(self._commit.tree, context)
        except OutsideTree as exc:
            raise DockerfileMissing(f"The build context is outside of the repository: {exc}", hint=exc.hint) from exc
        if entry is None or entry.kind is not Kind.FOLDER:
            hint = "Set [build] context in lumper.toml to a folder of the repository."
            text = f"There is no folder {printable_path(context)} at commit {self.commit[:12]} to build."
            raise DockerfileMissing(text, hint=hint)
        return entry.id

    async def _ignore_file(self, tree: str, dockerfile: str) -> tuple[str, bytes | None]:
        for name in (f"{dockerfile}.dockerignore", ".dockerignore"):
            content = await self._read(tree, name, IGNORE_LIMIT)
            if content is not None:
                return name, content
        return "", None

    async def _find(self, tree: str, path: str) -> Entry | None:
        try:
            return await self._objects.find(tree, path)
        except MirrorDamaged:
            await asyncio.to_thread(self._mirror.mark_damaged)
            raise

    async def _read(self, tree: str, path: str, limit: int) -> bytes | None:
        entry = await self._find(tree, path)
        if entry is None or entry.kind is not Kind.FILE:
            return None
        try:
            found = await self._objects.get(entry.id, limit)
        except MirrorDamaged:
            await asyncio.to_thread(self._mirror.mark_damaged)
            raise
        except SourceError as exc:
            raise SourceError(f"{printable_path(path)} is larger than the {limit} bytes that are read.") from exc
        if found is None:
            await asyncio.to_thread(self._mirror.mark_damaged)
            raise MirrorDamaged(f"{printable_path(path)} is not in the mirror.")
        return found[2]

    async def _tar_of(self, tree: str) -> str:
        """The object to archive: a commit, because git gives files of a bare tree the time of the day.

        For a folder that is a commit made up for it, always the same one for the same folder and commit.
        """
        if tree == self._commit.tree:
            return self._commit.id
        when = f"{max(0, int(self.committed_at.timestamp()))} +0000"
        who = {"NAME": "Lumper", "EMAIL": "lumper@localhost", "DATE": when}
        extra = {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in who.items()}
        output = await self._git.run(self._mirror.path, "commit-tree", "-m", "context", tree, extra=extra)
        return output.decode("ascii").strip()

    async def _tar(self, commit: str) -> AsyncGenerator[bytes]:
        pipe = asyncio.subprocess.PIPE
        async with self._git.start(self._mirror.path, "archive", "--format=tar", commit, stdout=pipe) as running:
            assert running.process.stdout is not None  # noqa: S101 (for the type checker)
            while chunk := await _filled(running.process.stdout):
                yield chunk
            finished = await running.finished()
        if "invalid path" in finished.words:
            hint = "No file may be called `.git`, `.` or `..`."
            raise SourceError(f"git refuses to build this commit: {last_words(finished.words)}.", hint=hint)
        if finished.code:
            await asyncio.to_thread(self._mirror.mark_damaged)
            raise MirrorDamaged(f"The commit {self.commit} cannot be read whole: {last_words(finished.words)}")


async def _filled(stream: asyncio.StreamReader) -> bytes:
    """About 1 MiB, or what is left."""
    parts: list[bytes] = []
    size = 0
    while size < CHUNK and (part := await stream.read(CHUNK - size)):
        parts.append(part)
        size += len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _access(request: CheckoutRequest) -> Access:
    """Raises SourceRefused for anything that is not to be handed to git."""
    if not _PROJECT.fullmatch(request.project_id):
        raise ValueError(f"not a project's id: {request.project_id!r}")
    url = parse_git_url(request.url)
    if url.local and not request.local:
        raise SourceRefused("Local repositories must be allowed by the operator.", hint="See [git] allow_local.")
    if not is_safe_ref(request.ref):
        raise SourceRefused("The ref's name is not one that git allows.", hint="Rename the tag.")
    if request.commit and not is_commit(request.commit):
        raise SourceRefused("The commit that was told is not an object id.", hint="The delivery is malformed.")
    credentials = request.credentials or ((url.username, url.password) if url.username else None)
    http = url.url.startswith(("http://", "https://"))
    return Access(url.url, local=url.local, credentials=credentials if http else None)


@contextmanager
def _disk_errors() -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        if exc.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull("There is no space left for the mirror of the repository.") from exc
        raise StorageError(f"The folder of the git mirrors cannot be used: {exc}.") from exc
