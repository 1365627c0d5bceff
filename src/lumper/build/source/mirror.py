"""The bare mirror of one project: made, fetched into, mended.

    <folder>/
      home/                     settings of git, noted ssh host keys
      <project id>.lock         held while somebody fetches
      <project id>.used         held, with others, while somebody uses the mirror; its time is that of the last use
      <project id>.git/         the mirror
        info/attributes         no file of a commit is left out of an archive, or changed
        refs/lumper/<id>        what was fetched when a delivery told of the object <id>
        refs/lumper/latest      what was fetched without such a word
        damaged                 an object could not be read: fetch everything anew

Objects come in whole packs, and a ref is written only after everything that it needs is there, so a fetch that was
killed leaves rubbish but nothing half done.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

from lumper.build.source.git import Access, Finished, Git
from lumper.build.source.git_trouble import Trouble, error_of, trouble
from lumper.build.source.lock import HeldLock
from lumper.build.source.objects import printable_path
from lumper.build.source.pinned_address import AddressGuard, may_move
from lumper.errors import CheckoutTooLarge, GitUnreachable

_ATTRIBUTES = "* -export-ignore -export-subst\n"
_LOOK_EVERY = 0.5  # seconds between two looks at a growing mirror


class Mirror:
    """One bare repository; `named` is the URL of the project that it serves.

    All but `has` and `mark_damaged` is done with the lock held. A fetch has `timeout` seconds.
    """

    def __init__(
        self, git: Git, path: Path, reach: AddressGuard, named: str, *, timeout: float, max_bytes: int
    ) -> None:
        self.path = path
        self._git = git
        self._reach = reach
        self._named = named
        self._timeout = timeout
        self._max_bytes = max_bytes

    def has(self, name: str) -> bool:
        """Whether the ref is there, in a mirror that is not known to be damaged. Blocking, one look at the disk."""
        return (self.path / name).is_file() and not (self.path / "damaged").exists()

    def mark_damaged(self) -> None:
        """Let the next fetch begin with an empty mirror. Blocking."""
        if self.path.is_dir():
            (self.path / "damaged").touch()

    async def fetch(self, lock: HeldLock, access: Access, source: str, name: str) -> None:
        """Have `source` (a ref or an object id of the server) and all its files under our ref `name`.

        Raises SourceError of every kind, and StorageFull. The history is left out where the server can do that. A
        damaged mirror, or one that grew too large over time, is made anew once.
        """
        sha256 = len(name.rpartition("/")[2]) == 64
        fresh = await asyncio.to_thread(self._prepare, sha256)
        shallow, remade = True, 0
        access = await self._reach.pinned(access, self._named)
        while True:
            try:
                finished = await self._fetch(lock, access, source, name, shallow=shallow)
                if finished.code == 0:
                    return
                kind, error = trouble(finished.words), None
            except CheckoutTooLarge as exc:
                kind, error = Trouble.TOO_LARGE, exc
            if kind is Trouble.NO_SHALLOW and shallow:
                shallow = False
            elif kind is Trouble.MOVED and may_move(access):
                access = await self._reach.moved(access, self._named)
            elif remade < 2 and (
                kind is Trouble.OTHER_HASH or (not fresh and kind in (Trouble.DAMAGED, Trouble.TOO_LARGE))
            ):
                if kind is Trouble.OTHER_HASH:
                    sha256 = not await asyncio.to_thread(self._is_sha256)
                await asyncio.to_thread(self.wipe)
                fresh = await asyncio.to_thread(self._prepare, sha256)
                remade += 1
            else:
                if kind in (Trouble.TOO_LARGE, Trouble.DISK_FULL):  # of no use, and somebody needs the space
                    await asyncio.to_thread(self.wipe)
                raise error or error_of(kind, finished.words, url=access.url, what=printable_path(source))

    async def _fetch(self, lock: HeldLock, access: Access, source: str, name: str, *, shallow: bool) -> Finished:
        arguments = (
            *("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules"),
            *(("--depth=1",) if shallow else ()),
            *("--end-of-options", access.url, f"+{source}:{name}"),
        )
        loop = asyncio.get_running_loop()
        end = loop.time() + self._timeout
        before = await asyncio.to_thread(self.size)
        async with self._git.start(self.path, *arguments, access=access, keep_open=(lock.fd,)) as running:
            lock.note(running.process.pid)
            while (finished := await running.wait(_LOOK_EVERY)) is None:
                size = await self._checked_size(access.url)
                if loop.time() > end:
                    raise self._too_slow(access.url, nothing_came=size == before)
        lock.note(0)
        await self._checked_size(access.url)  # it may have been quicker than our looks
        return finished

    async def _checked_size(self, url: str) -> int:
        size = await asyncio.to_thread(self.size)
        if size > self._max_bytes:
            raise CheckoutTooLarge(f"{url} has more than the {self._max_bytes >> 20} MiB that are allowed.")
        return size

    def _too_slow(self, url: str, *, nothing_came: bool) -> CheckoutTooLarge | GitUnreachable:
        seconds = f"{self._timeout:g} s"
        if nothing_came:
            return GitUnreachable(f"{url} sent nothing for {seconds}.")
        return CheckoutTooLarge(f"{url} could not be fetched within {seconds}.")

    def _prepare(self, sha256: bool) -> bool:
        """Have a mirror, free of what a killed fetch left. Whether it is an empty one."""
        if (self.path / "damaged").exists():
            self.wipe()
        fresh = not all((self.path / part).exists() for part in ("HEAD", "config", "objects/pack", "refs"))
        if fresh:
            self.wipe()
            self._make(sha256)
        else:
            _remove_leftovers(self.path)
        return fresh

    def _make(self, sha256: bool) -> None:
        """What `git init --bare` makes, without a template's hooks (gitrepository-layout(5))."""
        for part in ("info", "objects/info", "objects/pack", "refs/heads"):
            (self.path / part).mkdir(parents=True, exist_ok=True)
        version = "repositoryformatversion = 1" if sha256 else "repositoryformatversion = 0"
        extension = "[extensions]\n\tobjectFormat = sha256\n" if sha256 else ""
        (self.path / "config").write_text(f"[core]\n\t{version}\n\tbare = true\n{extension}")
        (self.path / "info/attributes").write_text(_ATTRIBUTES)
        (self.path / "HEAD").write_text("ref: refs/heads/none\n")

    def _is_sha256(self) -> bool:
        return "sha256" in (self.path / "config").read_text()

    def wipe(self) -> None:
        """Remove the mirror. Blocking. A reader that is under way fails and is tried again."""
        remove_mirror(self.path)

    def size(self) -> int:
        """The bytes of all packs and loose objects."""
        return size_of_mirror(self.path)


def remove_mirror(path: Path) -> None:
    """Remove a mirror, or what a killed process left of it. Blocking."""
    aside = path.with_name(f"{path.name}.old")
    shutil.rmtree(aside, ignore_errors=True)
    if path.exists():
        path.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)


def size_of_mirror(path: Path) -> int:
    """The bytes of all packs and loose objects, and of files of Git LFS on their way. Blocking."""
    return sum(_sizes(path / "objects")) + sum(_sizes(path / "lfs"))


def _sizes(folder: Path) -> list[int]:
    sizes = []
    for where, _, names in os.walk(folder):
        for name in names:
            try:
                sizes.append(os.lstat(f"{where}/{name}").st_size)
            except OSError:  # renamed while we look
                continue
    return sizes


def _remove_leftovers(mirror: Path) -> None:
    """Locks and unfinished files of a git that was killed: with our lock held, nobody is at work on them."""
    rubbish = [
        *mirror.glob("*.lock"),
        *mirror.glob("shallow_*"),
        *mirror.glob("refs/**/*.lock"),
        *mirror.glob("objects/pack/tmp_*"),
        *mirror.glob("objects/pack/.tmp-*"),
    ]
    for path in rubbish:
        path.unlink(missing_ok=True)
