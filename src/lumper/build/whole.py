"""The whole source of a commit: with its submodules and the files that Git LFS keeps elsewhere, where asked for."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

from lumper.build.git import Access, Git
from lumper.build.lfs import LfsClient, Pointer, find_pointers, lfs_url, web_url
from lumper.build.lock import hold
from lumper.build.mirror import Mirror
from lumper.build.objects import Entry, Kind, Objects, printable_path
from lumper.build.reach import Reach, same_keeper
from lumper.build.submodules import parse_modules, submodule_url
from lumper.build.trees import FOLDER, Put, replaced
from lumper.errors import CheckoutTooLarge, RefNotFound, SourceError, SourceRefused
from lumper.model.source import parse_git_url

MOST_SUBMODULES = 200
DEEPEST = 10  # submodules of submodules
_LIST_LIMIT = 1 << 20  # bytes of .gitmodules


@dataclass(frozen=True)
class Wanted:
    """What is to be fetched besides the commit itself."""

    submodules: bool = False
    lfs: bool = False


@dataclass(frozen=True)
class Whole:
    """The tree with all that was put into it, and the mirrors whose objects it has."""

    tree: str
    mirrors: tuple[Mirror, ...] = ()


@dataclass(frozen=True)
class Repository:
    """One of the repositories: its mirror and how to get in."""

    mirror: Mirror
    access: Access


@dataclass
class Completer:
    """Puts one commit together. `open_mirror` gives the mirror for a submodule's key; `tell` gets lines for the log.

    `size` is what all mirrors and LFS files may hold, in bytes; `timeout`, in seconds, is for everything together.
    """

    git: Git
    reach: Reach
    wanted: Wanted
    open_mirror: Callable[[str, int], Mirror]
    tell: Callable[[str], None]
    timeout: float
    size: int
    project: Access
    _count: int = field(default=0, init=False)

    async def complete(self, mirror: Mirror, tree: str) -> Whole:
        """The whole of the project's tree. Raises SourceError of every kind."""
        try:
            async with asyncio.timeout(self.timeout):
                return await self._whole(Repository(mirror, self.project), tree, 0)
        except TimeoutError as exc:
            text = f"The submodules and LFS files of {self.project.url} did not come within {self.timeout:g} s."
            raise CheckoutTooLarge(text) from exc

    async def _whole(self, repository: Repository, tree: str, depth: int) -> Whole:
        puts: dict[str, Put] = {}
        mirrors: list[Mirror] = []
        async with Objects(self.git, repository.mirror.path) as objects:
            if self.wanted.lfs:
                puts |= await self._large_files(objects, repository, tree)
            if self.wanted.submodules:
                async for path, inner in self._submodules(objects, repository, tree, depth):
                    puts[path] = Put(FOLDER, inner.tree)
                    mirrors += inner.mirrors
            made = await replaced(objects, self.git, repository.mirror.path, tree, puts)
        return Whole(made, (repository.mirror, *mirrors))

    async def _submodules(
        self, objects: Objects, repository: Repository, tree: str, depth: int
    ) -> AsyncIterator[tuple[str, Whole]]:
        for path, url in (await self._modules(objects, repository.mirror.path, tree)).items():
            link = await _at(objects, tree, path)
            if link is None or link.kind is not Kind.SUBMODULE:  # a line that was left behind: nothing is missing
                continue
            self._count += 1
            if depth >= DEEPEST or self._count > MOST_SUBMODULES:
                raise SourceRefused(
                    f"There are more than {MOST_SUBMODULES} submodules, or they are more than {DEEPEST} deep.",
                    hint="Lumper fetches no more than that.",
                )
            try:
                yield path, await self._submodule(repository, url, link.id, depth)
            except SourceError as exc:
                said = f"The submodule {printable_path(path)} cannot be fetched: {exc.message}"
                raise _same_kind(exc, said) from exc

    async def _modules(self, objects: Objects, mirror: Path, tree: str) -> dict[str, str]:
        entry = await _at(objects, tree, ".gitmodules")
        if entry is None or entry.kind is not Kind.FILE:
            return {}
        if await objects.get(entry.id, _LIST_LIMIT) is None:
            return {}
        return parse_modules(await self.git.run(mirror, "config", "--list", "-z", f"--blob={entry.id}"))

    async def _submodule(self, parent: Repository, text: str, commit: str, depth: int) -> Whole:
        url = submodule_url(text, parse_git_url(parent.access.url))
        mine = not url.local and not self.project.local and same_keeper(self.project.url, url.url)
        credentials = self.project.credentials if mine else None
        access = Access(url.url, local=url.local, credentials=credentials)
        key = hashlib.sha256(url.url.encode()).hexdigest()[:32]
        mirror = self.open_mirror(key, self.size)
        name = f"refs/lumper/{commit}"
        if not await asyncio.to_thread(mirror.has, name):
            self.tell(f"fetching the submodule {url.url} at {commit[:12]}")
            async with hold(mirror.path.with_suffix(".lock"), self.timeout) as lock:
                try:
                    await mirror.fetch(lock, access, commit, name)
                except RefNotFound as exc:
                    hint = "Push that commit there, or let the submodule point at one that is there."
                    raise RefNotFound(f"{url.url} has no commit {commit[:12]}.", hint=hint) from exc
        self._spend(await asyncio.to_thread(mirror.size))
        async with Objects(self.git, mirror.path) as objects:
            found = await objects.commit(name)
        if found is None:
            await asyncio.to_thread(mirror.mark_damaged)
            raise SourceError(f"{url.url} has no commit {commit[:12]}.")
        return await self._whole(Repository(mirror, access), found[1].tree, depth + 1)

    async def _large_files(self, objects: Objects, repository: Repository, tree: str) -> dict[str, Put]:
        pointers = await find_pointers(objects, self.git, repository.mirror.path, tree)
        if not pointers:
            return {}
        self._spend(sum({pointer.oid: pointer.size for _, _, pointer in pointers}.values()))
        url = await self._lfs_url(objects, repository, tree)
        mine = not self.project.local and same_keeper(self.project.url, url)
        client = LfsClient(url, self.reach, self.project.url, self.project.credentials if mine else None)
        async with hold(repository.mirror.path.with_suffix(".lock"), self.timeout):
            ids = await self._stored(client, repository.mirror.path, [found[2] for found in pointers])
        return {path: Put(mode, ids[pointer.oid]) for path, mode, pointer in pointers}

    async def _lfs_url(self, objects: Objects, repository: Repository, tree: str) -> str:
        """What `.lfsconfig` says (git-lfs-config(5), "lfs.url"), or the place that goes without saying."""
        entry = await _at(objects, tree, ".lfsconfig")
        if entry is not None and entry.kind is Kind.FILE:
            listing = await self.git.run(repository.mirror.path, "config", "--list", "-z", f"--blob={entry.id}")
            for record in listing.decode("utf-8", "replace").split("\0"):
                key, _, value = record.partition("\n")
                if key == "lfs.url":
                    return web_url(value).rstrip("/")
        if repository.access.local:
            text = "A local repository has no LFS server of its own."
            raise SourceRefused(text, hint="Set [lfs] url in .lfsconfig to an https:// URL.")
        return lfs_url(repository.access.url)

    async def _stored(self, client: LfsClient, mirror: Path, pointers: list[Pointer]) -> dict[str, str]:
        """From SHA-256 to the id of git's object with that content, kept from one build to the next."""
        folder = mirror / "lfs"
        await asyncio.to_thread(folder.mkdir, exist_ok=True)
        ids = await asyncio.to_thread(_known, folder, pointers)
        missing = {pointer.oid: pointer for pointer in pointers if pointer.oid not in ids}
        if missing:
            self.tell(f"fetching {len(missing)} LFS files, {sum(p.size for p in missing.values()) >> 20} MiB")
            await client.fetch(missing.values(), folder)
        for oid in missing:
            ids[oid] = await self._as_blob(mirror, folder / oid)
        return ids

    async def _as_blob(self, mirror: Path, file: Path) -> str:
        """Make git's object of a file, and leave its id in place of the file."""
        with await asyncio.to_thread(file.open, "rb") as source:
            output = await self.git.run(
                mirror,
                "-c",
                "core.compression=0",
                "hash-object",
                "-w",
                "--stdin",
                "--no-filters",
                stdin=source.fileno(),
            )
        blob = output.decode("ascii").strip()
        await asyncio.to_thread(_note, file, blob)
        return blob

    def _spend(self, size: int) -> None:
        self.size -= size
        if self.size < 0:
            raise CheckoutTooLarge(f"{self.project.url} is too large with its submodules and LFS files.")


async def _at(objects: Objects, tree: str, path: str) -> Entry | None:
    """What a tree has at a path itself: no link is followed."""
    entry: Entry | None = Entry(Kind.FOLDER, tree)
    for part in path.split("/"):
        if entry is None or entry.kind is not Kind.FOLDER:
            return None
        entry = (await objects.tree(entry.id)).get(part)
    return entry


def _same_kind(error: SourceError, text: str) -> SourceError:
    return type(error)(text, hint=error.hint)


def _known(folder: Path, pointers: list[Pointer]) -> dict[str, str]:
    ids = {}
    for pointer in pointers:
        note = folder / f"{pointer.oid}.id"
        if note.is_file():
            ids[pointer.oid] = note.read_text()
    return ids


def _note(file: Path, blob: str) -> None:
    note = file.with_name(f"{file.name}.id")
    temporary = note.with_suffix(".new")
    temporary.write_text(blob)
    temporary.replace(note)
    file.unlink()
