"""Quotas: the most bytes that the repositories of a rule may hold together.

What they hold is counted by the database, remembered for a minute, and in between grows by what this process lets in;
before anything is refused it is counted again. Another process that serves the same registry is heard of a minute
late, so by what it lets in until then a quota may be exceeded.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from lumper.errors import RuleForbids
from lumper.model.rules import Rule
from lumper.registry.port import Metadata

_REMEMBERED = 60.0  # seconds
_FRESH = 1.0  # seconds within which a count is not made again to refuse something


class _Count:
    """Bytes that were counted, and when."""

    def __init__(self, size: int, at: float) -> None:
        self.size = size
        self.at = at


class Quotas:
    """Asked before a repository gets a blob or a manifest. Without a quota nothing is read or waited for."""

    def __init__(self, metadata: Metadata, clock: Callable[[], float] = time.monotonic) -> None:
        self._metadata = metadata
        self._clock = clock
        self._counts: dict[str, _Count] = {}

    async def check_room(self, repository: str, size: int = 1) -> None:
        """Raise RuleForbids if there is no room for so many bytes, before more is sent."""
        rules = await self._metadata.rules()
        for rule in rules.limiting(repository) if rules.quotas else ():
            await self._check(rule, repository, size)

    async def admit(self, repository: str, digest: str, size: int) -> None:
        """Count `size` bytes more, unless the repositories of the rule have this digest. Raises RuleForbids."""
        rules = await self._metadata.rules()
        counted = [
            await self._check(rule, repository, size)
            for rule in (rules.limiting(repository) if rules.quotas else ())
            if not await self._metadata.holds(rule.repositories, digest)
        ]
        for count in counted:
            count.size += size

    async def standing(self, repository: str) -> list[tuple[Rule, int]]:
        """The rules that limit the repository's space, each with the bytes that are taken of it, a minute late."""
        rules = await self._metadata.rules()
        return [(rule, (await self._counted(rule, _REMEMBERED)).size) for rule in rules.limiting(repository)]

    async def _check(self, rule: Rule, repository: str, size: int) -> _Count:
        count = await self._counted(rule, _REMEMBERED)
        if count.size + size > rule.quota:
            count = await self._counted(rule, _FRESH)
        if count.size + size > rule.quota:
            raise RuleForbids(
                f"The quota of the rule for {rule.repositories} is exceeded: {rule.quota} bytes, of which {count.size} "
                f"are taken, and {repository} needs {size} more.",
                hint="Delete what is not needed, or let an admin raise it: `lumper registry rules set`.",
            )
        return count

    async def _counted(self, rule: Rule, seconds: float) -> _Count:
        count = self._counts.get(rule.repositories)
        if count is None or self._clock() - count.at > seconds:
            count = _Count(await self._metadata.usage(rule.repositories), self._clock())
            self._counts[rule.repositories] = count
        return count
