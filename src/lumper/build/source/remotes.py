"""What a repository elsewhere has: its tags and branches, asked for without fetching anything."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lumper.build.source.git import CHUNK, Access, Git, Ssh
from lumper.build.source.git_trouble import Trouble, error_of, trouble
from lumper.build.source.pinned_address import AddressGuard, may_move
from lumper.errors import CheckoutTooLarge, GitUnreachable, SourceRefused
from lumper.model.refs import BRANCH_PREFIX, TAG_PREFIX
from lumper.model.source import Project, is_commit, is_safe_ref, parse_git_url

_MOST_BYTES = 64 << 20  # some 700,000 refs


@dataclass(frozen=True)
class RemoteRef:
    """A tag or branch. `object` is what it points at, `commit` the commit behind it: they differ for annotated tags."""

    object: str
    commit: str

    @property
    def ids(self) -> tuple[str, str]:
        """By either of these a delivery may have told of it."""
        return self.object, self.commit


class Remotes:
    """Asks other git servers, which have `timeout` seconds each time. `home` is a folder of ours."""

    def __init__(
        self,
        home: Path,
        *,
        timeout: float = 60.0,
        ssh: Ssh | None = None,
        reach: AddressGuard | None = None,
    ) -> None:
        self._reach = reach or AddressGuard()
        self._home = home.absolute()
        self._timeout = timeout
        self._git = Git(self._home, ssh)

    async def refs(self, project: Project, login: tuple[str, str] | None = None) -> Mapping[str, RemoteRef]:
        """All its tags and branches by their full names, but those that are not handed to git. Raises SourceError.

        `login` is the user name and the password, where it has any.
        """
        url = parse_git_url(project.url)
        if url.local and not project.local:
            raise SourceRefused("Local repositories must be allowed by the operator.", hint="See [git] allow_local.")
        http = url.url.startswith(("http://", "https://"))
        access = Access(url.url, local=url.local, credentials=login if http else None)
        await asyncio.to_thread(self._git.prepare)
        try:
            async with asyncio.timeout(self._timeout):
                return parse_refs(await self._listing(await self._reach.pinned(access, access.url), access.url))
        except TimeoutError as exc:
            raise GitUnreachable(f"{access.url} did not tell its tags within {self._timeout:g} s.") from exc

    async def _listing(self, access: Access, named: str) -> bytes:
        arguments = ("ls-remote", "--quiet", "--tags", "--heads", "--end-of-options", access.url)
        output = bytearray()
        pipe = asyncio.subprocess.PIPE
        async with self._git.start(self._home, *arguments, access=access, stdout=pipe) as running:
            assert running.process.stdout is not None  # noqa: S101 (for the type checker)
            while data := await running.process.stdout.read(CHUNK):
                output += data
                if len(output) > _MOST_BYTES:
                    raise CheckoutTooLarge(f"{access.url} has more tags and branches than Lumper looks through.")
            finished = await running.finished()
        kind = trouble(finished.words)
        if finished.code and kind is Trouble.MOVED and may_move(access):
            return await self._listing(await self._reach.moved(access, named), named)
        if finished.code:
            raise error_of(kind, finished.words, url=access.url, what="its tags")
        return bytes(output)


def parse_refs(listing: bytes) -> dict[str, RemoteRef]:
    """The lines of git-ls-remote(1). A line `<ref>^{}` tells the commit behind the annotated tag before it."""
    found: dict[str, RemoteRef] = {}
    for line in listing.decode("utf-8", "replace").splitlines():
        identity, _, name = line.partition("\t")
        ref = name.removesuffix("^{}")
        if not is_commit(identity) or not is_safe_ref(ref) or not ref.startswith((TAG_PREFIX, BRANCH_PREFIX)):
            continue
        known = found.get(ref)
        found[ref] = RemoteRef(known.object if known and name != ref else identity, identity)
    return found
