"""A blob that is handed on without being kept, because there is no room for it here."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from lumper.errors import RemoteUnavailable
from lumper.registry.port import StoredBlob
from lumper.registry.remote.registry import RemoteRegistry, checked


@dataclass(frozen=True)
class Source:
    """Where a blob comes from: what its repository is called at that registry."""

    registry: RemoteRegistry
    repository: str
    digest: str

    async def read(self, start: int, end: int, size: int, at: int = 0) -> AsyncIterator[bytes]:
        """The bytes from `start` up to, without, `end`, of `size`, for a reader who has those before `at` already.

        All of a blob is fetched from its beginning, so that its last bytes come only if the whole was right; of a part
        nobody but the reader can tell. Raises RemoteError.
        """
        whole, at = (start, end) == (0, size), max(start, at)
        async with self.registry.blob(self.repository, self.digest, 0 if whole else at) as incoming:
            position = incoming.start
            async for chunk in checked(incoming.chunks, self.digest, size) if whole else incoming.chunks:
                if wanted := chunk[max(0, at - position) : max(0, end - position)]:
                    yield wanted
                position += len(chunk)
                if position >= end and not whole:
                    return
        if position < end:
            raise RemoteUnavailable(f"The blob {self.digest} broke off after {position} of {size} bytes.")


@dataclass(frozen=True)
class PassingBlob(StoredBlob):
    """A blob that every reader has from its source."""

    source: Source | None = None
