"""Makes the metadata anew from what the storage says of manifests and tags.

Only what is not known is added, and nothing that is known is changed: it may be run again after it was killed, and
beside pushes and pulls. Of a tag that the storage saw moved later than the database did, as after an old backup, people
are told. Nobody vouches for what lies in the storage, so all of it is checked as if it were pushed.

What is lost with the database and cannot be made anew: accounts, builds and rollouts, and a repository's right to serve
blobs that no manifest of it refers to.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import groupby

from lumper.errors import RegistryError, StorageError
from lumper.model.images.image import Link, Name, NewManifest, Restored, Tag, digest_of
from lumper.registry.holds import Holds
from lumper.registry.manifest_format import read_manifest
from lumper.registry.manifests import MAX_BYTES, computed
from lumper.registry.port import Metadata, Storage

_AT_ONCE = 16  # manifests that are read at the same time: 64 MiB at most
_STEP = 100  # manifests of one transaction
_ON_ITS_WAY = timedelta(minutes=2)  # longer than any push is between its names and its transaction


@dataclass(frozen=True)
class Trouble:
    """Something that the storage says and that could not be brought back, or not whole."""

    repository: str
    name: str
    why: str


@dataclass(frozen=True)
class Rebuilt:
    """How many names the storage had so far, and how many manifests and tags were, or would be, brought back."""

    dry_run: bool = False
    names: int = 0
    manifests: int = 0
    tags: int = 0


@dataclass
class _Round:
    """One run. `waiting` are a repository's indexes, which come after the manifests that they refer to."""

    done: Rebuilt
    abandoned: bool
    repository: str = ""
    waiting: list[Restored] = field(default_factory=list)
    wanted: set[str] = field(default_factory=set)  # manifests that a dry run would bring back
    troubles: list[Trouble] = field(default_factory=list)


class Rebuilder:
    """Brings back what the storage names and the metadata do not know."""

    def __init__(self, storage: Storage, metadata: Metadata, holds: Holds) -> None:
        self._storage = storage
        self._metadata = metadata
        self._holds = holds

    async def run(self, *, dry_run: bool = False, abandoned: bool = False) -> AsyncIterator[Trouble | Rebuilt]:
        """Troubles, and from time to time how far it is; the last one is how far it came. Raises StorageError.

        `abandoned`: what comes back without a tag, an index or a subject need not stay.
        """
        work = _Round(Rebuilt(dry_run), abandoned)
        async for page in self._storage.names():
            for (repository, tags), group in groupby(page, key=lambda one: (one[0].repository, one[0].is_tag)):
                names = [*group]
                if repository != work.repository or tags:
                    await self._indexes(work)
                if repository != work.repository:
                    work.repository, work.wanted = repository, set()
                work.done = replace(work.done, names=work.done.names + len(names))
                await (self._tags if tags else self._manifests)(work, self._legal(work, names))
                for trouble in work.troubles:
                    yield trouble
                work.troubles.clear()
                yield work.done
        await self._indexes(work)
        for trouble in work.troubles:
            yield trouble
        yield work.done

    def _legal(self, work: _Round, names: Sequence[tuple[Name, datetime]]) -> list[tuple[Name, datetime]]:
        for name, _ in names:
            if not name.legal:
                work.troubles.append(Trouble(name.repository, name.reference, "nothing can be called so"))
        return [one for one in names if one[0].legal]

    async def _unknown(self, work: _Round, names: Sequence[tuple[Name, datetime]]) -> list[tuple[Name, datetime]]:
        """Names that the metadata do not know; the storage is told anew of those that lead elsewhere."""
        known = await self._metadata.known_names(work.repository, [name.reference for name, _ in names])
        wrong = [one for one in names if known.get(one[0].reference, one[0].says) != one[0].says]
        stale = [name.reference for name, at in wrong if work.abandoned or not await self._moved_later(work, name, at)]
        if stale and not work.done.dry_run:
            await self._metadata.rename(work.repository, stale)
        return [one for one in names if one[0].reference not in known]

    async def _moved_later(self, work: _Round, name: Name, at: datetime) -> bool:
        """Whether the storage has a tag at another manifest since a time when it was not pushed yet, as far as known.

        Then the database is older than the storage, or a push was killed: people are told where to move it.
        """
        tag = await self._metadata.tag(work.repository, name.reference) if name.is_tag else None
        if tag is None or at <= tag.updated_at or at > datetime.now(UTC) - _ON_ITS_WAY:
            return False
        why = f"it points at {tag.digest}, but in the storage at another manifest since {at:%Y-%m-%d %H:%M} UTC"
        mend = f"`lumper image retag {work.repository}:{name.reference} {name.says}` moves it there"
        work.troubles.append(Trouble(work.repository, name.reference, f"{why}: {mend}"))
        return True

    async def _manifests(self, work: _Round, names: Sequence[tuple[Name, datetime]]) -> None:
        unknown = await self._unknown(work, names)
        found: list[Restored] = []
        for start in range(0, len(unknown), _AT_ONCE):
            read = await asyncio.gather(*(self._restored(work, *one) for one in unknown[start : start + _AT_ONCE]))
            found += [one for one in read if one is not None]
        work.waiting += [one for one in found if _children(one.manifest)]
        await self._restore(work, [one for one in found if not _children(one.manifest)])

    async def _indexes(self, work: _Round) -> None:
        """Indexes, those without others below them first, because the size of each counts what is below."""
        waiting, work.waiting = work.waiting, []
        while waiting:
            later = {one.manifest.digest for one in waiting}
            ready = [one for one in waiting if not _children(one.manifest) & later] or waiting
            await self._restore(work, ready)
            waiting = [one for one in waiting if one not in ready]

    async def _restore(self, work: _Round, found: Sequence[Restored]) -> None:
        for start in range(0, len(found), _STEP):
            some = found[start : start + _STEP]
            count = len(some)
            if work.done.dry_run:
                work.wanted.update(one.manifest.digest for one in some)
            else:
                needed = {link.digest for one in some for link in one.manifest.links}
                async with self._holds.using(work.repository, needed | {one.manifest.digest for one in some}):
                    still = await self._still(work, some)
                    count = await self._metadata.restore(work.repository, still, abandoned=work.abandoned)
            work.done = replace(work.done, manifests=work.done.manifests + count)

    async def _still(self, work: _Round, found: Sequence[Restored]) -> list[Restored]:
        """Those that the storage still names: they may have been deleted since they were read."""
        digests = [one.manifest.digest for one in found]
        said = await asyncio.gather(*(self._storage.noted(work.repository, digest) for digest in digests))
        return [one for one, says in zip(found, said, strict=True) if says is not None]

    async def _tags(self, work: _Round, names: Sequence[tuple[Name, datetime]]) -> None:
        unknown = await self._unknown(work, names)
        digests = sorted({name.says for name, _ in unknown})
        known = {*await self._metadata.known_names(work.repository, digests), *work.wanted}
        lost = [name for name, _ in unknown if name.says not in known]
        work.troubles += [
            Trouble(work.repository, name.reference, f"it points at {name.says}, which is not there") for name in lost
        ]
        tags = [Tag(name.reference, name.says, at) for name, at in unknown if name.says in known]
        made = len(tags)
        if tags and not work.done.dry_run:
            made = len(await self._metadata.restore_tags(work.repository, tags))
        work.done = replace(work.done, tags=work.done.tags + made)

    async def _restored(self, work: _Round, name: Name, at: datetime) -> Restored | None:
        try:
            manifest = await self._manifest(name)
        except (RegistryError, StorageError) as exc:
            work.troubles.append(Trouble(name.repository, name.reference, exc.message))
            return None
        blobs: list[Link] = []
        for link in manifest.links:
            if link.manifest:
                continue
            stored = await self._storage.stat(link.digest)
            if stored is not None:
                blobs.append(Link(link.digest, stored.size))
            else:
                why = f"{manifest.digest} refers to it, and it is not in the storage"
                work.troubles.append(Trouble(name.repository, link.digest, why))
        return Restored(manifest, tuple(blobs), at)

    async def _manifest(self, name: Name) -> NewManifest:
        """What the bytes of a manifest say. Raises StorageError, RegistryError."""
        stored = await self._storage.stat(name.reference)
        if stored is None:
            raise StorageError("Its bytes are not in the storage.")
        if stored.size > MAX_BYTES:
            raise StorageError(f"It has {stored.size} bytes, and no manifest has more than {MAX_BYTES}.")
        body = b"".join([chunk async for chunk in self._storage.read(name.reference)])
        return await computed(body, _read, name)


def _read(body: bytes, name: Name) -> NewManifest:
    found = digest_of(body, name.reference)
    if found != name.reference:
        raise StorageError(f"Its bytes have the digest {found}.")
    return read_manifest(body, name.says, name.reference)


def _children(manifest: NewManifest) -> set[str]:
    return {link.digest for link in manifest.links if link.manifest}
