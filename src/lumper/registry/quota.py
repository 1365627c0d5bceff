"""Quotas: the most bytes that the repositories of a rule may hold together.

What they hold is counted by the database, remembered for a minute, and in between grows by what this process lets in;
before anything is refused it is counted again. What was let in and is not in the database yet counts as well, whenever
it is counted: so pushes at the same time do not get past a quota together. Another process that serves the same
registry is heard of a minute late, so by what it lets in until then a quota may be exceeded.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator

from lumper.config.sizes import shown
from lumper.errors import RuleForbids
from lumper.model.images.rules import Rule
from lumper.registry.port import Metadata

_REMEMBERED = 60.0  # seconds
_FRESH = 1.0  # seconds within which a count is not made again to refuse something


class _Coming:
    """A digest on its way in, by one push or several."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.pushes = 0
        self.there = False


class _Count:
    """The bytes of one rule: what the database has counted and was added since, and what is on its way."""

    def __init__(self) -> None:
        self.alone = asyncio.Lock()  # nothing sets out while it is counted
        self._size = 0
        self._at = float("-inf")
        self._coming: dict[str, _Coming] = {}

    @property
    def taken(self) -> int:
        return self._size + sum(one.size for one in self._coming.values() if not one.there)

    def is_from(self, now: float, seconds: float) -> bool:
        """Whether it is so young."""
        return now - self._at <= seconds

    async def make(self, metadata: Metadata, repositories: str, clock: Callable[[], float]) -> None:
        """Count again, without what is on its way: that may be in the database already."""
        coming = dict(self._coming)
        self._size = await metadata.usage(repositories, without=coming)
        self._size += sum(one.size for one in coming.values() if one.there)
        self._at = clock()

    def lacks(self, digest: str) -> bool:
        """Whether it is not on its way yet."""
        return digest not in self._coming

    @contextlib.contextmanager
    def coming(self, digest: str, size: int) -> Iterator[None]:
        """During the block the digest is on its way; it counts from then on unless the block fails."""
        one = self._coming.setdefault(digest, _Coming(size))
        one.pushes += 1
        try:
            yield
            self._size += 0 if one.there else one.size
            one.there = True
        finally:
            one.pushes -= 1
            if not one.pushes:
                del self._coming[digest]


class Quotas:
    """Asked before a repository gets a blob or a manifest. Without a quota nothing is read or waited for."""

    def __init__(self, metadata: Metadata, clock: Callable[[], float] = time.monotonic) -> None:
        self._metadata = metadata
        self._clock = clock
        self._counts: dict[str, _Count] = {}

    async def check_room(self, repository: str, size: int = 1, digest: str = "") -> None:
        """Raise RuleForbids if there is no room for so many bytes, before more is sent.

        For a `digest` that the rule's repositories have none is needed.
        """
        rules = await self._metadata.rules()
        for rule in rules.limiting(repository) if rules.quotas else ():
            try:
                await self._check(rule, repository, size)
            except RuleForbids:
                if not digest or not await self._metadata.holds(rule.repositories, digest):
                    raise

    @contextlib.asynccontextmanager
    async def admit(self, repository: str, digest: str, size: int) -> AsyncIterator[None]:
        """The block makes `size` bytes the repository's. They count, unless the rule's repositories have this digest.

        Raises RuleForbids before the block.
        """
        rules = await self._metadata.rules()
        with contextlib.ExitStack() as coming:
            for rule in rules.limiting(repository) if rules.quotas else ():
                if not await self._metadata.holds(rule.repositories, digest):
                    count = await self._check(rule, repository, size, digest)
                    coming.enter_context(count.coming(digest, size))
            yield

    async def standing(self, repository: str) -> list[tuple[Rule, int]]:
        """The rules that limit the repository's space, each with the bytes that are taken of it, a minute late."""
        rules = await self._metadata.rules()
        return [(rule, await self.taken(rule)) for rule in rules.limiting(repository)]

    async def taken(self, rule: Rule) -> int:
        """The bytes that are taken of the rule's quota, a minute late."""
        return (await self._counted(rule)).taken

    async def _check(self, rule: Rule, repository: str, size: int, digest: str = "") -> _Count:
        """The count, which has room for it. Raises RuleForbids.

        Between the last comparison and the caller's next step nothing is awaited, so the room is still there then.
        """
        count = await self._counted(rule)
        if count.taken + size > rule.quota and count.lacks(digest):
            count = await self._counted(rule, _FRESH)
        if count.taken + size > rule.quota and count.lacks(digest):
            raise RuleForbids(
                f"The quota of the rule for {rule.repositories} is exceeded: {shown(rule.quota)}, of which "
                f"{shown(count.taken)} are taken, and {repository} needs {shown(size)} more.",
                hint="Delete what is not needed, or let an admin raise it: `lumper registry rules set`.",
            )
        return count

    async def _counted(self, rule: Rule, seconds: float = _REMEMBERED) -> _Count:
        count = self._counts.setdefault(rule.repositories, _Count())
        async with count.alone:
            if not count.is_from(self._clock(), seconds):
                await count.make(self._metadata, rule.repositories, self._clock)
        return count
