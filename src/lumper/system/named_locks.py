"""Who has a name for itself, where there is only one process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class LocalLocks:
    """Names that somebody has at the moment."""

    def __init__(self) -> None:
        self._held: set[str] = set()

    @asynccontextmanager
    async def __call__(self, name: str) -> AsyncIterator[bool]:
        """Whether the block is the only one with this name at the moment."""
        if name in self._held:
            yield False
            return
        self._held.add(name)
        try:
            yield True
        finally:
            self._held.discard(name)
