"""The whole source of a commit: with its submodules and the files that Git LFS keeps elsewhere, where asked for."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from lumper.build.source.git import Access, Git
from lumper.build.source.lending import Lenders, lend_files, nobody
from lumper.build.source.lfs import LfsClient, Pointer, find_pointers, lfs_url, web_url
from lumper.build.source.lock import hold
from lumper.build.source.mirror import Mirror
from lumper.build.source.objects import Entry, Kind, Objects, printable_path
from lumper.build.source.pinned_address import AddressGuard, same_keeper
from lumper.build.source.submodules import parse_modules, submodule_url
from lumper.build.source.trees import FOLDER, Put, replaced
from lumper.errors import CheckoutTooLarge, RefNotFound, SourceError, SourceRefused
from lumper.model.source import GitUrl, parse_git_url

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
    """One of the repositories: its mirror, its URL, and its path in the whole, "" for the project's own."""

    mirror: Mirror
    url: str
    path: str = ""


@dataclass
class Completer:
    """Puts one commit together. `open_mirror` gives the mirror for a submodule's key; `tell` gets lines for the log.

    `size` is what all mirrors and LFS files may hold, in bytes; `timeout`, in seconds, is for everything together. The
    project of a work tree was cloned from `origin`, and `lend` tells who has on this machine what is needed.
    """

    git: Git
    reach: AddressGuard
    wanted: Wanted
    open_mirror: Callable[[str, int], Mirror]
    tell: Callable[[str], None]
    timeout: float
    size: int
    project: Access
    origin: str = ""
    lend: Lenders = nobody
    _count: int = field(default=0, init=False)

    async def complete(self, mirror: Mirror, tree: str) -> Whole:
        """The whole of the project's tree. Raises SourceError of every kind."""
        try:
            async with asyncio.timeout(self.timeout):
                return await self._whole(Repository(mirror, self.origin or self.project.url), tree, 0)
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
                yield path, await self._submodule(repository, path, url, link.id, depth)
            except SourceError as exc:
                said = f"The submodule {printable_path(path)} cannot be fetched: {exc.message}"
                raise _same_kind(exc, said) from exc

    async def _modules(self, objects: Objects, mirror: Path, tree: str) -> dict[str, str]:
        entry = await _at(objects, tree, ".gitmodules")
        if entry is None or entry.kind is not Kind.FILE:
            return {}
        if await objects.get(entry.id, _LIST_LIMIT) is None:
            return {}
        return parse_modules(await self._settings(mirror, ".gitmodules", entry.id))

    async def _settings(self, mirror: Path, name: str, blob: str) -> bytes:
        """What a file in git's format for settings says. Raises SourceError where it is not one."""
        try:
            return await self.git.run(mirror, "config", "--list", "-z", f"--blob={blob}")
        except SourceError as exc:
            line = re.search(r"bad config line \d+", exc.message)
            raise SourceError(f"{name} cannot be read: {line[0] if line else exc.message}.") from exc

    async def _submodule(self, parent: Repository, path: str, text: str, commit: str, depth: int) -> Whole:
        place, name = f"{parent.path}/{path}".lstrip("/"), f"refs/lumper/{commit}"
        lent = await self._lent(place, commit, name)
        if lent is None:
            url = submodule_url(text, parse_git_url(parent.url))
            mirror = self._mirror_of(url.url)
            await self._fetch(mirror, self._access(url), commit, name)
            repository = Repository(mirror, url.url, place)
        else:
            repository = Repository(lent, _url_or_none(text, parent.url), place)
        self._spend(await asyncio.to_thread(repository.mirror.size))
        async with Objects(self.git, repository.mirror.path) as objects:
            found = await objects.commit(name)
        if found is None:
            await asyncio.to_thread(repository.mirror.mark_damaged)
            raise SourceError(f"{repository.url} has no commit {commit[:12]}.")
        return await self._whole(repository, found[1].tree, depth + 1)

    async def _lent(self, place: str, commit: str, name: str) -> Mirror | None:
        """The mirror of a repository of this machine that has the commit, if there is one."""
        for lender in await asyncio.to_thread(self.lend, place):
            mirror = self._mirror_of(str(lender))
            with suppress(SourceError):
                await self._fetch(mirror, Access(str(lender), local=True), commit, name)
                return mirror
        return None

    def _mirror_of(self, url: str) -> Mirror:
        return self.open_mirror(hashlib.sha256(url.encode("utf-8", "surrogateescape")).hexdigest()[:32], self.size)

    def _access(self, url: GitUrl) -> Access:
        mine = not url.local and not self.project.local and same_keeper(self.project.url, url.url)
        return Access(url.url, local=url.local, credentials=self.project.credentials if mine else None)

    async def _fetch(self, mirror: Mirror, access: Access, commit: str, name: str) -> None:
        """Have the commit under our ref. Raises SourceError."""
        if await asyncio.to_thread(mirror.has, name):
            return
        self.tell(f"fetching the submodule {access.url} at {commit[:12]}")
        async with hold(mirror.path.with_suffix(".lock"), self.timeout) as lock:
            try:
                await mirror.fetch(lock, access, commit, name)
            except RefNotFound as exc:
                hint = "Push that commit there, or let the submodule point at one that is there."
                raise RefNotFound(f"{access.url} has no commit {commit[:12]}.", hint=hint) from exc

    async def _large_files(self, objects: Objects, repository: Repository, tree: str) -> dict[str, Put]:
        pointers = await find_pointers(objects, self.git, repository.mirror.path, tree)
        if not pointers:
            return {}
        wanted = {pointer.oid: pointer for _, _, pointer in pointers}
        paths = {pointer.oid: path for path, _, pointer in reversed(pointers)}
        self._spend(sum(pointer.size for pointer in wanted.values()))
        async with hold(repository.mirror.path.with_suffix(".lock"), self.timeout):
            ids = await self._stored(objects, repository, tree, wanted, paths)
        return {path: Put(mode, ids[pointer.oid]) for path, mode, pointer in pointers}

    async def _lfs_client(
        self, objects: Objects, repository: Repository, tree: str, paths: Mapping[str, str]
    ) -> LfsClient:
        url = await self._lfs_url(objects, repository, tree)
        mine = not self.project.local and same_keeper(self.project.url, url)
        named = self.origin or self.project.url
        return LfsClient(url, self.reach, named, self.project.credentials if mine else None, paths)

    async def _lfs_url(self, objects: Objects, repository: Repository, tree: str) -> str:
        """What `.lfsconfig` says (git-lfs-config(5), "lfs.url"), or the place that goes without saying."""
        entry = await _at(objects, tree, ".lfsconfig")
        if entry is not None and entry.kind is Kind.FILE:
            listing = await self._settings(repository.mirror.path, ".lfsconfig", entry.id)
            for record in listing.decode("utf-8", "replace").split("\0"):
                key, _, value = record.partition("\n")
                if key == "lfs.url":
                    return _server_named(value)
        if not repository.url or parse_git_url(repository.url).local:
            text = "A local repository has no LFS server of its own."
            hint = "`git lfs fetch` brings its files here, or set [lfs] url in .lfsconfig to an https:// URL."
            raise SourceRefused(text, hint=hint)
        return lfs_url(repository.url)

    async def _stored(
        self,
        objects: Objects,
        repository: Repository,
        tree: str,
        wanted: Mapping[str, Pointer],
        paths: Mapping[str, str],
    ) -> dict[str, str]:
        """From SHA-256 to the id of git's object with that content, kept from one build to the next."""
        folder = repository.mirror.path / "lfs"
        await asyncio.to_thread(folder.mkdir, exist_ok=True)
        ids = await asyncio.to_thread(_known, folder, wanted)
        new = [pointer for oid, pointer in wanted.items() if oid not in ids]
        if new:
            await lend_files(await asyncio.to_thread(self.lend, repository.path), new, folder)
            missing = [pointer for pointer in new if not await asyncio.to_thread((folder / pointer.oid).is_file)]
            if missing:
                client = await self._lfs_client(objects, repository, tree, paths)
                many = "s" if len(missing) > 1 else ""
                self.tell(f"fetching {len(missing)} LFS file{many}, {sum(p.size for p in missing) >> 20} MiB")
                await client.fetch(missing, folder)
        for pointer in new:
            ids[pointer.oid] = await self._as_blob(repository.mirror.path, folder / pointer.oid)
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


def _server_named(value: str) -> str:
    """The LFS server that `.lfsconfig` names. Raises SourceRefused."""
    try:
        return web_url(value).rstrip("/")
    except SourceRefused as exc:
        text = f"[lfs] url in .lfsconfig is {printable_path(value)[:200]}, which Lumper does not fetch from."
        raise SourceRefused(text, hint="Give it an https:// URL.") from exc


def _url_or_none(text: str, parent: str) -> str:
    """The URL of a submodule that was lent, which is not needed then."""
    try:
        return submodule_url(text, parse_git_url(parent)).url
    except SourceRefused:
        return ""


def _same_kind(error: SourceError, text: str) -> SourceError:
    return type(error)(text, hint=error.hint)


def _known(folder: Path, wanted: Iterable[str]) -> dict[str, str]:
    return {oid: note.read_text() for oid in wanted if (note := folder / f"{oid}.id").is_file()}


def _note(file: Path, blob: str) -> None:
    note = file.with_name(f"{file.name}.id")
    temporary = note.with_suffix(".new")
    temporary.write_text(blob)
    temporary.replace(note)
    file.unlink()
