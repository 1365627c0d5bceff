"""Reads everything again: whether what is stored is what its digest says, and what is known is stored.

It may take hours and runs beside pushes, pulls and the collection of garbage: what looks wrong is looked at again
before it is told, and what is younger than the grace may be on its way.

A client does not send what it is told is there. So bytes that are wrong are set aside, and the blob is not there: any
push of it mends it.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Sequence, Set
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from lumper.errors import StorageError
from lumper.model.images.image import Name
from lumper.registry.holds import Holds
from lumper.registry.names import Names
from lumper.registry.port import Metadata, Storage

_STEP = 500  # blobs of one page
_REPOSITORIES = 100
_MISSING = "a repository has it, and it is not in the storage"
_ASIDE = "its bytes were wrong and were set aside: it is not there until it is pushed again"
_ORPHANED = "it is in the storage, and nothing knows of it"
_UNKNOWN = "the storage says what it is, and the database does not know it"


class DefectKind(StrEnum):
    """What can be wrong with a blob, or with what a repository refers to."""

    MISSING = "missing"
    CORRUPT = "corrupt"
    ORPHANED = "orphaned"
    DANGLING = "dangling"
    UNNAMED = "unnamed"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Defect:
    """Something that is wrong. `name` is a digest or a tag, `repository` is "" for what none is known to have."""

    kind: DefectKind
    repository: str
    name: str
    why: str


@dataclass(frozen=True)
class Progress:
    """How many blobs and bytes were read so far, and how many repositories were gone through."""

    blobs: int = 0
    bytes: int = 0
    repositories: int = 0


class Verifier:
    """Compares the storage and the metadata with each other, and each blob with its digest."""

    def __init__(
        self,
        storage: Storage,
        metadata: Metadata,
        names: Names,
        grace: timedelta,
        holds: Holds,
        doubt: Callable[[str], None],
        partial: Callable[[str], bool] = lambda _: False,
    ) -> None:
        """`doubt` forgets a digest's bytes. `partial` tells of a repository that it is a cache, and may lack much."""
        self._holds = holds
        self._doubt = doubt
        self._partial = partial
        self._storage = storage
        self._names = names
        self._metadata = metadata
        self._grace = grace

    async def run(self, *, repair: bool = False) -> AsyncIterator[Defect | Progress]:
        """All flaws, and from time to time how far it is; the last one is how far it came. Raises StorageError.

        Bytes that are wrong are set aside: the blob is not there any more, and so it is whole again once it is pushed.
        With `repair` the storage is told of the names that it does not have right.
        """
        await self._names.tell()
        aside = set(await self._storage.review())
        for digest in sorted(aside):
            if flaw := await self._still_aside(digest):
                yield flaw
        progress = Progress()
        async for found in self._blobs(aside):
            progress = found if isinstance(found, Progress) else progress
            yield found
        last = ""
        while names := await self._metadata.repositories(last=last, limit=_REPOSITORIES):
            for repository in names:
                if not self._partial(repository):
                    async for flaw in self._of(repository, repair=repair):
                        yield flaw
                progress = replace(progress, repositories=progress.repositories + 1)
            last = names[-1]
        async for named in self._storage.names():
            for one in await self._unknown(named):
                yield Defect(DefectKind.UNKNOWN, one.repository, one.reference, _UNKNOWN)
        yield progress

    async def _blobs(self, aside: Set[str]) -> AsyncIterator[Defect | Progress]:
        """What is wrong with blobs, page by page, and after each how many there were."""
        progress = Progress()
        after, more = "", True
        while more:
            page = await self._storage.blobs(after, _STEP)
            more = len(page) == _STEP
            until = page[-1][0] if more else ""
            for flaw in await self._compared(after, until, page, aside):
                yield flaw
            for digest, size, _ in page:
                if await self._wrong(digest) and (why := await self._set_aside(digest)):
                    yield await self._flawed(DefectKind.CORRUPT, digest, why)
                progress = replace(progress, blobs=progress.blobs + 1, bytes=progress.bytes + size)
                yield progress
            after = until

    async def _of(self, repository: str, *, repair: bool) -> AsyncIterator[Defect]:
        for name, why in await self._metadata.flaws(repository):
            yield Defect(DefectKind.DANGLING, repository, name, why)
        async for reference, says in self._names.untold(repository, mend=repair):
            why = "the storage does not say what it is" if says is None else f"the storage says that it is {says!r}"
            yield Defect(DefectKind.UNNAMED, repository, reference, f"{why}, until now" if repair else why)

    async def _unknown(self, page: Sequence[tuple[Name, datetime]]) -> list[Name]:
        """What the storage names and the metadata do not know, unless it may be on its way or was deleted meanwhile."""
        old = datetime.now(UTC) - self._grace
        found = await self._names.unknown([name for name, at in page if at < old])
        if found:
            await self._names.tell()
            found = await self._names.unknown(found)
        return [one for one in found if await self._names.said(one)]

    async def _still_aside(self, digest: str) -> Defect | None:
        """What was set aside earlier is still wrong, unless nobody wants it any more: then it goes."""
        _, needed = (await self._metadata.known_blobs(digest[:-1], digest)).get(digest, (0, False))
        if needed:
            return await self._flawed(DefectKind.CORRUPT, digest, _ASIDE)
        with self._holds.claiming([digest]) as free:
            if free and await self._storage.stat(digest) is None:
                await self._storage.delete(digest)
        return None

    async def _set_aside(self, digest: str) -> str:
        """What is wrong with a blob, which is read once more for it; "" if nothing is any more."""
        with self._holds.claiming([digest]) as free:
            if not free:  # somebody stores it just now, and so mends it
                return ""
            self._doubt(digest)
            try:
                return await self._storage.set_aside(digest)
            except StorageError as exc:
                return f"it is damaged, and could not be set aside: {exc.sentence}"

    async def _compared(
        self, after: str, until: str, page: Sequence[tuple[str, int, datetime]], aside: Set[str]
    ) -> list[Defect]:
        """What the metadata and one page of the storage do not agree upon. Both may have changed since the page."""
        known = await self._metadata.known_blobs(after, until)
        stored = {digest: (size, at) for digest, size, at in page}
        lost = [digest for digest, (_, needed) in known.items() if needed and digest not in stored]
        lost = [digest for digest in lost if digest not in aside and not await self._there(digest)]
        old = datetime.now(UTC) - self._grace
        strange = [digest for digest, (_, at) in stored.items() if digest not in known and at < old]
        if lost or strange:
            known = await self._metadata.known_blobs(after, until)
        return [
            *[await self._flawed(DefectKind.MISSING, one, _MISSING) for one in lost if known.get(one, (0, False))[1]],
            *(Defect(DefectKind.ORPHANED, "", one, _ORPHANED) for one in strange if one not in known),
        ]

    async def _there(self, digest: str) -> bool:
        """Whether it can be read; a storage may remember for a moment that it was there."""
        try:
            async for _ in self._storage.read(digest, 0, 1):
                pass
        except StorageError:
            return False
        return True

    async def _flawed(self, kind: DefectKind, digest: str, why: str) -> Defect:
        """A blob that is missing or wrong, with a repository that may serve it; a manifest has none there."""
        names = await self._metadata.repositories_with(digest)
        others = f"; it is also of {len(names) - 1} other repositories" if len(names) > 1 else ""
        return Defect(kind, names[0] if names else "", digest, why + others)

    async def _wrong(self, digest: str) -> str:
        """What is wrong with the bytes of a blob; "" if nothing is, or if it has gone.

        Raises StorageError if it is not this blob that cannot be read, but the whole storage.
        """
        hashing = hashlib.new(digest.partition(":")[0])
        length = 0
        try:
            async for chunk in self._storage.read(digest):
                await asyncio.to_thread(hashing.update, chunk)
                length += len(chunk)
        except StorageError as exc:
            await self._storage.identity()  # what `stat` remembers may have been there until a moment ago
            return exc.message if await self._storage.stat(digest) is not None else ""
        found = f"{hashing.name}:{hashing.hexdigest()}"
        return "" if found == digest else f"its {length} bytes have the digest {found}"
