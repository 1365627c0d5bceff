"""What a commit holds: single files, and its build context as a tar stream."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path

from lumper.build.context.attributes import ATTRIBUTES, ATTRIBUTES_LIMIT, folders_around, inherited
from lumper.build.context.dockerfile import copied
from lumper.build.context.dockerignore import IGNORE_LIMIT, Ignore, parse_dockerignore
from lumper.build.context.selection import select
from lumper.build.port import Files, NotOneByOne
from lumper.build.source.commit_files import CommitFiles, changes_files
from lumper.build.source.full_source import Wanted, Whole
from lumper.build.source.git import CHUNK, Git, last_words
from lumper.build.source.left_out import empty_submodules, only_pointers
from lumper.build.source.mirror import Mirror
from lumper.build.source.objects import Commit, Entry, Kind, Objects, OutsideTree, printable_path
from lumper.build.source.suggestions import hint_for_dockerfile, hint_for_submodule, near_name
from lumper.build.source.tarstream import file_entry, filtered
from lumper.errors import DockerfileMissing, MirrorDamaged, SourceError
from lumper.logs import get_logger
from lumper.model.source import Person, is_commit

log = get_logger(__name__)

CONTEXT_FOLDER = ".lumper-context"
FEW_FILES = 400  # to bring so many one by one takes an engine less time than to unpack a stream of them

Complete = Callable[[str, Wanted, Callable[[str], None]], Awaitable[Whole]]
"""From a tree to one with what is wanted besides; the last is told lines for the log."""


class Checkout:
    """A commit that lies in the mirror. Paths are relative to the root of the repository, with `/`."""

    def __init__(
        self,
        git: Git,
        mirror: Mirror,
        objects: Objects,
        commit: Commit,
        fetch: Callable[[str], Awaitable[None]],
        complete: Complete,
    ) -> None:
        self._git = git
        self._fetch = fetch
        self._put_together = complete
        self._mirror = mirror
        self._mirrors: tuple[Mirror, ...] = (mirror,)
        self._tree = commit.tree
        self._environment: Mapping[str, str] = {}
        self._objects = objects
        self._commit = commit
        self._streams: list[AsyncGenerator[bytes]] = []
        self._whole = False  # whether it has its submodules

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

    async def complete(self, wanted: Wanted, tell: Callable[[str], None]) -> None:
        """Have submodules and LFS files in the tree from now on, where they are wanted; `tell` gets lines for the log.

        Raises SourceError of every kind, StorageError.
        """
        if not wanted.submodules and not wanted.lfs:
            return
        self._whole = wanted.submodules
        whole = await self._put_together(self._commit.tree, wanted, tell)
        self._tree, self._mirrors = whole.tree, whole.mirrors
        others = os.pathsep.join(f'"{mirror.path}/objects"' for mirror in whole.mirrors[1:])
        self._environment = {"GIT_ALTERNATE_OBJECT_DIRECTORIES": others} if others else {}
        await self._objects.close()
        self._objects = Objects(self._git, self._mirror.path, self._environment)

    async def left_out(self, context: str) -> list[str]:
        """What of the context is not there, as lines for the log: submodules, and files of Git LFS."""
        tree = await self._context(context)
        where = (self._git, self._objects, self._mirror.path, self._tree, tree, self._environment)
        return [*await empty_submodules(*where, asked=self._whole), *await only_pointers(*where)]

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
        entry = await self._find(self._tree, path)
        return entry is not None and entry.kind is Kind.FILE

    async def read(self, path: str, limit: int) -> bytes | None:
        """A file, after symbolic links; None if there is none.

        Raises OutsideTree if a link leaves the repository, SourceError if the file is larger than `limit` bytes.
        """
        return await self._read(self._tree, path, limit)

    async def dockerfile(self, context: str, dockerfile: str) -> Entry:
        """The Dockerfile, whose path is relative to the context. Raises DockerfileMissing with the place looked at."""
        shown = printable_path(dockerfile if context in ("", ".") else f"{context}/{dockerfile}")
        tree = await self._context(context)
        try:
            entry = await self._find(tree, dockerfile)
        except OutsideTree as exc:
            raise DockerfileMissing(f"{shown} is not a file of the build context: {exc}", hint=exc.hint) from exc
        folder, _, name = dockerfile.rpartition("/")
        if entry is None and name == "Dockerfile":  # every reader takes this one instead
            entry = await self._find(tree, f"{folder}/dockerfile")
        if entry is None:
            hint = await hint_for_dockerfile(self.names, context, dockerfile)
            raise DockerfileMissing(f"There is no {shown} at commit {self.commit[:12]}.", hint=hint)
        if entry.kind is not Kind.FILE:
            raise DockerfileMissing(f"{shown} at commit {self.commit[:12]} is a {entry.kind.value}, not a file.")
        return entry

    async def dockerfile_text(self, context: str, dockerfile: str) -> bytes:
        """What the Dockerfile says. Raises DockerfileMissing, SourceError."""
        entry = await self.dockerfile(context, dockerfile)
        found = await self._objects.get(entry.id)
        return found[2] if found else b""

    async def names(self, folder: str) -> Mapping[str, Kind]:
        """What a folder has; nothing where there is none."""
        try:
            entry = await self._find(self._tree, folder)
        except OutsideTree:
            return {}
        if entry is None or entry.kind is not Kind.FOLDER:
            return {}
        return {name: found.kind for name, found in (await self._objects.tree(entry.id)).items()}

    async def left_out_by(self, context: str, dockerfile: str, path: str) -> str:
        """Which line of which ignore file leaves a path of the context out, as `line` of FILE; "" if none does."""
        name, ignore = await self._ignore(await self._context(context), dockerfile)
        line = ignore.line(path) if ignore else None
        return f"`{printable_path(line)}` of {printable_path(name)}" if line is not None else ""

    async def context_folder(self, context: str, dockerfile: str) -> str:
        """Where in the archive the context has to lie so that the Dockerfile is there and yet not part of it.

        That is "" unless the ignore file names the Dockerfile, or itself. Raises as `archive` does.
        """
        entry = await self.dockerfile(context, dockerfile)
        name, ignore = await self._ignore(await self._context(context), dockerfile)
        return CONTEXT_FOLDER if ignore and any(map(ignore.ignores, (*entry.trail, name))) else ""

    async def files(self, context: str, dockerfile: str, folder: str) -> Files | None:
        """What is in the archive, one by one, if that is quicker: if the Dockerfile copies few files.

        Raises DockerfileMissing, RecipeError (the ignore file is wrong), SourceError.
        """
        tree, entry = await self._context(context), await self.dockerfile(context, dockerfile)
        _, ignore = await self._ignore(tree, dockerfile)
        around = await self._attributes_around(context)
        if changes_files(around):
            return None
        time = max(0, int(self.committed_at.timestamp()))
        key = f"{tree} {time} {hashlib.sha256(around).hexdigest()} {dockerfile} {folder}"
        beside = (dockerfile, entry.id) if folder else None
        files = CommitFiles(self._objects, tree, time, ignore, key, self._damaged, folder, beside)
        try:
            paths = copied(await self.dockerfile_text(context, dockerfile))
            return files if not paths or await select(files, paths, folder, FEW_FILES) is not None else None
        except NotOneByOne:
            return None

    def archive(self, context: str = ".", dockerfile: str = "Dockerfile", *, folder: str = "") -> AsyncIterator[bytes]:
        """A tar stream of the context folder, in chunks of about 1 MiB, without what its ignore file names.

        `<dockerfile>.dockerignore` wins over `.dockerignore`. With `folder`, the context lies in it, and the Dockerfile
        beside it. Reading raises DockerfileMissing, RecipeError (the ignore file is wrong), SourceError.
        """
        stream = self._archive(context, dockerfile, folder)
        self._streams.append(stream)
        return stream

    async def close(self) -> None:
        """End archives that were not read to their end."""
        for stream in self._streams:
            await stream.aclose()
        await self._objects.close()

    async def _archive(self, context: str, dockerfile: str, folder: str) -> AsyncGenerator[bytes]:
        tree = await self._context(context)
        text = await self.dockerfile_text(context, dockerfile)
        _, ignore = await self._ignore(tree, dockerfile)
        chunks = self._tar(await self._tar_of(tree), folder, await self._attributes_around(context))
        stream = filtered(chunks, ignore, folder=folder) if ignore else chunks
        try:
            if folder:
                yield file_entry(dockerfile, text, int(self.committed_at.timestamp()))
            async for chunk in stream:
                yield chunk
        finally:
            await stream.aclose()
            await chunks.aclose()

    async def _context(self, context: str) -> str:
        try:
            entry = await self._find(self._tree, context)
        except OutsideTree as exc:
            raise DockerfileMissing(f"The build context is outside of the repository: {exc}", hint=exc.hint) from exc
        if entry is None or entry.kind is not Kind.FOLDER:
            near = await near_name(self.names, context)
            hint = f"There is {near}." if near else "Set `context` in lumper.toml to a folder of the repository."
            text = f"There is no folder {printable_path(context)} at commit {self.commit[:12]} to build."
            raise DockerfileMissing(text, hint=await hint_for_submodule(self.names, context) or hint)
        return entry.id

    async def _ignore(self, tree: str, dockerfile: str) -> tuple[str, Ignore | None]:
        """The name of the ignore file and what it says."""
        for name in (f"{dockerfile}.dockerignore", ".dockerignore"):
            content = await self._read(tree, name, IGNORE_LIMIT)
            if content is not None:
                return name, parse_dockerignore(content, name=name)
        return "", None

    async def _find(self, tree: str, path: str) -> Entry | None:
        try:
            return await self._objects.find(tree, path)
        except MirrorDamaged:
            await self._damaged()
            raise

    async def _read(self, tree: str, path: str, limit: int) -> bytes | None:
        entry = await self._find(tree, path)
        if entry is None or entry.kind is not Kind.FILE:
            return None
        try:
            found = await self._objects.get(entry.id, limit)
        except MirrorDamaged:
            await self._damaged()
            raise
        except SourceError as exc:
            raise SourceError(f"{printable_path(path)} is larger than the {limit} bytes that are read.") from exc
        if found is None:
            await self._damaged()
            raise MirrorDamaged(f"{printable_path(path)} is not in the mirror.")
        return found[2]

    async def _damaged(self) -> None:
        for mirror in self._mirrors:
            await asyncio.to_thread(mirror.mark_damaged)

    async def _tar_of(self, tree: str) -> str:
        """The object to archive: a commit, because git gives files of a bare tree the time of the day.

        For a folder that is a commit made up for it, always the same one for the same folder and commit.
        """
        if tree == self._commit.tree:
            return self._commit.id
        when = f"{max(0, int(self.committed_at.timestamp()))} +0000"
        who = {"NAME": "Lumper", "EMAIL": "lumper@localhost", "DATE": when}
        extra = {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in who.items()}
        output = await self._git.run(
            self._mirror.path, "commit-tree", "-m", "context", tree, extra=extra | dict(self._environment)
        )
        return output.decode("ascii").strip()

    async def _attributes_around(self, context: str) -> bytes:
        """What the folders around the context say of line ends and the like, as a file of attributes."""
        entry = await self._find(self._tree, context)
        path = entry.path if entry else ""
        files = []
        for around in folders_around(path):
            found = (await self.names(around)).get(ATTRIBUTES) is Kind.FILE  # git follows no link here
            content = await self._read(self._tree, f"{around}/{ATTRIBUTES}", ATTRIBUTES_LIMIT) if found else None
            files.append((around, content or b""))
        return inherited(files, path)

    async def _tar(self, commit: str, folder: str, attributes: bytes) -> AsyncGenerator[bytes]:
        with _attributes_file(attributes) as settings:
            environment = {**self._environment, **settings}
            async with contextlib.aclosing(self._tar_with(commit, folder, environment)) as chunks:
                async for chunk in chunks:
                    yield chunk

    async def _tar_with(self, commit: str, folder: str, environment: Mapping[str, str]) -> AsyncGenerator[bytes]:
        pipe = asyncio.subprocess.PIPE
        arguments = ("archive", "--format=tar", *((f"--prefix={folder}/",) if folder else ()), commit)
        async with self._git.start(self._mirror.path, *arguments, stdout=pipe, extra=environment) as running:
            assert running.process.stdout is not None  # noqa: S101 (for the type checker)
            while chunk := await _filled(running.process.stdout):
                yield chunk
            finished = await running.finished()
        if "invalid path" in finished.words:
            hint = "No file may be called `.git`, `.` or `..`."
            raise SourceError(f"git refuses to build this commit: {last_words(finished.words)}.", hint=hint)
        if finished.code:
            await self._damaged()
            raise MirrorDamaged(f"The commit {self.commit} cannot be read whole: {last_words(finished.words)}")


@contextlib.contextmanager
def _attributes_file(content: bytes) -> Iterator[Mapping[str, str]]:
    """Settings with which git heeds these attributes, less than those of any folder that it looks at."""
    if not content:
        yield {}
        return
    with tempfile.TemporaryDirectory(prefix="lumper-attributes-") as folder:
        file = Path(folder) / "attributes"
        file.write_bytes(content)
        yield {
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "core.attributesFile",
            "GIT_CONFIG_VALUE_0": str(file),
        }


async def _filled(stream: asyncio.StreamReader) -> bytes:
    """About 1 MiB, or what is left."""
    parts: list[bytes] = []
    size = 0
    while size < CHUNK and (part := await stream.read(CHUNK - size)):
        parts.append(part)
        size += len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)
