"""What the storage says of manifests and tags, so that the metadata can be made anew from it alone.

The database is the truth, and the storage repeats of it which manifests a repository has and where its tags point:

- A push tells the storage itself: bytes and names first, then the transaction. What was acknowledged is thus in both.
  Of a push that was killed between the two the storage has bytes that the database does not know: the collector finds
  them, completes the push where nothing speaks against it, and else has the storage told what the database says.
  Of a push that was refused the names are taken back: at once, or by `tell` when storage and database answer again.
- Every other change (a build that is accepted, a deletion, the collection of garbage) leaves a row in its transaction,
  a rename, and `tell` makes the storage say what the database says then. So does a push that moves a tag where other
  processes may push it at the same time. A row goes only when both were found to agree some time after the change: a
  push that was on its way meanwhile, in whichever process, is over by then.

Private tags of builds are not told: without the database there are no builds.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import groupby

from lumper.errors import LumperError
from lumper.logs import get_logger
from lumper.model.images.image import PRIVATE_PREFIX, Name, NewManifest, Rename
from lumper.registry.port import Metadata, Storage

log = get_logger(__name__)

_STEP = 500
_AT_ONCE = 32  # requests to the storage
_SETTLED = timedelta(minutes=2)  # longer than any push is between its names and its transaction
_MOST_DOUBTED = 10_000  # names


@dataclass
class _Turn:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    wanted: int = 0


class Names:
    """Makes the storage say what the metadata say."""

    def __init__(self, storage: Storage, metadata: Metadata) -> None:
        self._storage = storage
        self._metadata = metadata
        self._turns: dict[tuple[str, str], _Turn] = {}
        self._looked_at = 0  # the newest rename that the storage was told of in this life
        self._doubted: dict[tuple[str, str], None] = {}  # names of pushes that failed, in their order

    @asynccontextmanager
    async def pushing(self, repository: str, references: Iterable[str]) -> AsyncIterator[None]:
        """Pushes of one tag take turns, so that the last one in the storage is the last one in the database too.

        After one that fails, the storage says again what the metadata say.
        """
        public = [one for one in sorted(set(references)) if not one.startswith(PRIVATE_PREFIX)]
        async with AsyncExitStack() as stack:
            for reference in sorted(set(references)):
                await stack.enter_async_context(self._turn(repository, reference))
            try:
                yield
            except BaseException as exc:
                self._doubt(repository, public)
                if isinstance(exc, LumperError):
                    with suppress(LumperError):  # the first error is the one to tell
                        await self._take_back(repository, public)
                raise

    def _doubt(self, repository: str, references: Iterable[str]) -> None:
        self._doubted.update(((repository, reference), None) for reference in references)
        while len(self._doubted) > _MOST_DOUBTED:  # `lumper registry verify` tells of the others
            del self._doubted[next(iter(self._doubted))]

    @asynccontextmanager
    async def _turn(self, repository: str, reference: str) -> AsyncIterator[None]:
        turn = self._turns.setdefault((repository, reference), _Turn())
        turn.wanted += 1
        try:
            async with turn.lock:
                yield
        finally:
            turn.wanted -= 1
            if not turn.wanted:
                del self._turns[repository, reference]

    async def store(self, repository: str, manifest: NewManifest, body: bytes, tags: Sequence[str]) -> None:
        """Put a manifest that is pushed into the storage, then its name, then those of its tags. Raises StorageError.

        So names that a killed push has left lead to bytes, by which the collector finds them, and no tag's name stays
        behind that leads to a manifest without one.
        """
        await self._storage.put(manifest.digest, body)
        await self._storage.note(Name(repository, manifest.digest, manifest.media_type))
        named = [Name(repository, tag, manifest.digest) for tag in tags if not tag.startswith(PRIVATE_PREFIX)]
        await _all(*(self._storage.note(name) for name in named))

    async def _take_back(self, repository: str, references: Sequence[str]) -> None:
        """For who has their turn."""
        for reference in references:
            await self._set(repository, reference, await self._true(repository, reference))
            self._doubted.pop((repository, reference), None)

    async def begin(self) -> None:
        """Where the storage says nothing, as before it was told of names, let `tell` tell it of all.

        Where the database knows nothing, it was lost: the log says what to do.
        """
        async for _ in self._storage.names():
            if not await self._metadata.repositories(limit=1):
                log.warning(
                    "the storage has images and the database knows none",
                    action="registry.names",
                    hint="Run lumper registry rebuild.",
                )
            return
        await self._metadata.rename_all()

    async def tell(self) -> int:
        """Tell the storage of what changed; how many names it had wrong. Raises StorageError."""
        mended = 0
        for repository, reference in [*self._doubted]:
            mended += await self._mend(repository, reference)
            self._doubted.pop((repository, reference), None)
        while found := await self._metadata.renames(self._looked_at, _STEP):
            mended += await self._told(found)
            self._looked_at = found[-1].number
        settled = datetime.now(UTC) - _SETTLED
        while found := [one for one in await self._metadata.renames(0, _STEP) if one.at < settled]:
            mended += await self._told(found)
            await self._metadata.renamed([one.number for one in found])
        return mended

    async def _told(self, found: Sequence[Rename]) -> int:
        mended = 0
        for repository in sorted({one.repository for one in found}):
            references = sorted({one.reference for one in found if one.repository == repository})
            for reference in await self._differing(repository, references):
                mended += await self._mend(repository, reference)
        return mended

    async def untold(self, repository: str, *, mend: bool = False) -> AsyncIterator[tuple[str, str | None]]:
        """The digests and tags of which the storage does not say what the metadata say, and what it says instead.

        With `mend`, then it does.
        """
        last = ""
        while page := await self._metadata.names(repository, last=last, limit=_STEP):
            last = page[-1].reference
            for reference, says in (await self._differing(repository, [name.reference for name in page])).items():
                if await self._mend(repository, reference, only_look=not mend):
                    yield reference, says

    async def unknown(self, names: Sequence[Name]) -> list[Name]:
        """Those of these names in the storage whose reference the metadata do not know."""
        found: list[Name] = []
        for repository, group in groupby(names, key=lambda name: name.repository):
            some = [*group]
            known = await self._metadata.known_names(repository, [name.reference for name in some])
            found += [name for name in some if name.reference not in known]
        return found

    async def said(self, name: Name) -> bool:
        """Whether the storage has this name; also one that cannot be read by it."""
        return not name.legal or await self._storage.noted(name.repository, name.reference) is not None

    async def _differing(self, repository: str, references: Sequence[str]) -> dict[str, str | None]:
        known = await self._metadata.known_names(repository, references)
        differing: dict[str, str | None] = {}
        for start in range(0, len(references), _AT_ONCE):
            some = references[start : start + _AT_ONCE]
            said = await asyncio.gather(*(self._storage.noted(repository, one) for one in some))
            differing |= {one: says for one, says in zip(some, said, strict=True) if says != known.get(one)}
        return differing

    async def _mend(self, repository: str, reference: str, *, only_look: bool = False) -> bool:
        """Look again while nobody pushes it; whether it was wrong."""
        async with self._turn(repository, reference):
            true = await self._true(repository, reference)
            wrong = await self._storage.noted(repository, reference) != true
            if not only_look and (wrong or true is None):  # what an `erase` that failed has left may come back
                await self._set(repository, reference, true)
        return wrong

    async def _true(self, repository: str, reference: str) -> str | None:
        return (await self._metadata.known_names(repository, [reference])).get(reference)

    async def _set(self, repository: str, reference: str, true: str | None) -> None:
        if true is None:
            await self._storage.erase(repository, reference)
        else:
            await self._storage.note(Name(repository, reference, true))


async def _all(*steps: Awaitable[None]) -> None:
    """Do them at the same time, each to its end; then raise what the first one that failed has raised."""
    done = await asyncio.gather(*steps, return_exceptions=True)
    if failure := next((one for one in done if one is not None), None):
        raise failure
