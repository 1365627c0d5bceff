"""Checkout: the exact commit that a delivery told of, fetched into a bare mirror."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from lumper.build.source.contents import Checkout
from lumper.build.source.full_source import Completer, Wanted, Whole
from lumper.build.source.git import Access, Git, Ssh
from lumper.build.source.lending import Lenders, nobody
from lumper.build.source.lock import hold, in_use
from lumper.build.source.mirror import Mirror
from lumper.build.source.mirror_keeping import MirrorLimits, prune_mirrors, use_file
from lumper.build.source.objects import Commit, Objects, printable_path
from lumper.build.source.pinned_address import AddressGuard
from lumper.errors import (
    CommitMismatch,
    MirrorDamaged,
    RefNotFound,
    SourceRefused,
    StorageError,
    StorageFull,
)
from lumper.logs import get_logger
from lumper.model.source import is_commit, is_safe_ref, parse_git_url
from lumper.system.full_disk import no_space_left

log = get_logger(__name__)

_PROJECT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


@dataclass(frozen=True)
class Limits:
    """What one fetch may take: seconds, and bytes of the mirror."""

    timeout: float = 600.0
    max_bytes: int = 10 << 30


@dataclass(frozen=True)
class CheckoutRequest:
    """What to check out. `commit` is the object id that the delivery told of, a commit or an annotated tag, or "".

    A work tree was cloned from `origin`, any text, and its repositories `lend` what they have.
    """

    project_id: str
    url: str
    local: bool
    ref: str
    commit: str = ""
    credentials: tuple[str, str] | None = field(default=None, repr=False)
    origin: str = ""
    lend: Lenders = nobody


class Mirrors:
    """The mirrors of all projects, in a folder of their own. Several Lumper processes may share it."""

    def __init__(
        self,
        folder: Path,
        *,
        limits: Limits | None = None,
        ssh: Ssh | None = None,
        reach: AddressGuard | None = None,
    ) -> None:
        self._folder = folder.absolute()
        self._reach = reach or AddressGuard()
        self._limits = limits or Limits()
        self._git = Git(self._folder / "home", ssh)
        self._prepared = False

    @asynccontextmanager
    async def checkout(self, request: CheckoutRequest) -> AsyncIterator[Checkout]:
        """The commit of a ref; the network is asked only if the mirror does not have it yet.

        Raises SourceError (every kind of it), StorageError.
        """
        access = _access(request)
        async with AsyncExitStack() as stack:
            with _disk_errors():
                if not self._prepared or not self._git.prepared:
                    await asyncio.to_thread(self._git.prepare)
                    self._prepared = True
                await stack.enter_async_context(in_use(use_file(self._folder, request.project_id)))
                mirror = self._mirror(request.project_id, access.url, self._limits.max_bytes)
                objects = await stack.enter_async_context(Objects(self._git, mirror.path))
                commit = await self._known(mirror, objects, request)
                commit = commit or await self._fetched(mirror, objects, request, access)
            complete = partial(self._complete, mirror, request, access)
            checkout = Checkout(self._git, mirror, objects, commit, partial(self._have, mirror, access), complete)
            try:
                yield checkout
            finally:
                await checkout.close()

    async def prune(self, limits: MirrorLimits) -> int:
        """Remove mirrors that are not wanted any more and that nobody uses; the bytes that became free.

        Raises StorageError.
        """
        with _disk_errors():
            return await prune_mirrors(self._folder, limits)

    def _mirror(self, name: str, named: str, max_bytes: int) -> Mirror:
        path = self._folder / f"{name}.git"
        return Mirror(self._git, path, self._reach, named, timeout=self._limits.timeout, max_bytes=max_bytes)

    async def _complete(
        self,
        mirror: Mirror,
        request: CheckoutRequest,
        access: Access,
        tree: str,
        wanted: Wanted,
        tell: Callable[[str], None],
    ) -> Whole:
        origin = _origin(request.origin)
        completer = Completer(
            git=self._git,
            reach=self._reach,
            wanted=wanted,
            open_mirror=lambda key, size: self._mirror(f"{request.project_id}.{key}", origin or access.url, size),
            tell=tell,
            timeout=self._limits.timeout,
            size=self._limits.max_bytes,
            project=access,
            origin=origin,
            lend=request.lend,
        )
        with _disk_errors():
            return await completer.complete(mirror, tree)

    async def _known(self, mirror: Mirror, objects: Objects, request: CheckoutRequest) -> Commit | None:
        name = f"refs/lumper/{request.commit}"
        if not request.commit or not await asyncio.to_thread(mirror.has, name):
            return None
        try:
            return await _told(objects, name, request.commit)
        except MirrorDamaged:
            return None

    async def _have(self, mirror: Mirror, access: Access, commit: str) -> None:
        """Fetch one more commit, unless it is there. Raises SourceError."""
        name = f"refs/lumper/{commit}"
        if await asyncio.to_thread(mirror.has, name):
            return
        async with hold(mirror.path.with_suffix(".lock"), self._limits.timeout) as lock:
            await mirror.fetch(lock, access, commit, name)

    async def _fetched(self, mirror: Mirror, objects: Objects, request: CheckoutRequest, access: Access) -> Commit:
        """Fetch the commit by its id, or else by the ref that has to point at it.

        By an id, git asks for no list of refs; but not every server gives out what it is asked for like that.
        """
        name = f"refs/lumper/{request.commit or 'latest'}"
        async with hold(mirror.path.with_suffix(".lock"), self._limits.timeout) as lock:
            if commit := await self._known(mirror, objects, request):  # somebody else fetched it meanwhile
                return commit
            await objects.close()  # it may have the files of a mirror that is made anew now
            if request.commit:
                with suppress(RefNotFound):
                    await mirror.fetch(lock, access, request.commit, name)
                    if commit := await _told(objects, name, request.commit):
                        return commit
            shown = printable_path(request.ref.removeprefix("refs/tags/"))
            try:
                await mirror.fetch(lock, access, request.ref, name)
            except RefNotFound as exc:
                raise RefNotFound(f"{access.url} has no {shown}.") from exc
            if commit := await _told(objects, name, request.commit):
                return commit
            raise CommitMismatch(f"{shown} does not point at {request.commit} any more.")


async def _told(objects: Objects, name: str, told: str) -> Commit | None:
    """The commit behind our ref `name`, if it is what was told of."""
    found = await objects.commit(name)
    if found is None:
        return None
    object_id, commit = found
    return commit if not told or told in (object_id, commit.id) else None


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


def _origin(text: str) -> str:
    """The URL that a work tree was cloned from, if it is one to fetch more from."""
    try:
        url = parse_git_url(text)
    except SourceRefused:
        return ""
    return "" if url.local else url.url


@contextmanager
def _disk_errors() -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        if no_space_left(exc):
            raise StorageFull("There is no space left for the mirror of the repository.") from exc
        raise StorageError(f"The folder of the git mirrors cannot be used: {exc}.") from exc
