"""Where the bytes of each blob are, and which of them are not what the digest says."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from lumper.registry.storage.damage import told_wrong
from lumper.registry.storage.s3 import keys
from lumper.registry.storage.s3.objects import Listed, Objects
from lumper.registry.storage.s3.refusal import Missing
from lumper.registry.storage.s3.uploads import Uploads


@dataclass(frozen=True)
class Folder:
    """A blob's folder. `sound` are the places that count, more than one if it was pushed twice at the same time.

    `damaged` are those that do not, `marks` all that is said of it, also of places that have gone.
    """

    sound: Sequence[keys.ParsedKey] = ()
    damaged: Sequence[keys.ParsedKey] = ()
    marks: Sequence[str] = ()
    at: datetime | None = None


class BlobLocations:
    """Find, judge and give up places. A mark names the very object that is damaged: one stored later is not meant."""

    def __init__(self, objects: Objects, uploads: Uploads) -> None:
        self._objects = objects
        self._uploads = uploads

    async def of(self, digest: str) -> Folder:
        """The folder of a digest, by one listing."""
        return _folder([found async for found in self._objects.listed(keys.blob(digest))])

    async def all(self, after: str) -> AsyncIterator[tuple[str, int, datetime]]:
        """Digest, size and time of every blob after `after` that has a sound place, in lexical order."""
        begin = keys.blob(after) + "0" if after else None  # "0" comes after "/": behind all objects of its folder
        digest, some = "", list[Listed]()
        async for found in self._objects.listed(keys.BLOBS, begin):
            if keys.digest_of(found.key) != digest:
                if one := _blob(digest, some):
                    yield one
                digest, some = keys.digest_of(found.key), []
            some.append(found)
        if one := _blob(digest, some):
            yield one

    async def set_aside(self, digest: str) -> str:
        """Mark the places of a blob whose bytes are wrong; what is wrong, if none is left. Raises StorageError."""
        listed = {found.key: found async for found in self._objects.listed(keys.blob(digest))}
        folder, wrong = _folder([*listed.values()]), ""
        right = False
        for place in folder.sound:
            if why := await self._wrong(place, digest):
                wrong = why
                await self._objects.put(keys.damaged(digest), b"")
                await self._objects.put(keys.mark(place.named, listed[place.named].version), b"")
            else:
                right = True
        return "" if right else wrong

    async def review(self) -> list[str]:
        """Take the marks from what is right, give up what is there anew; the digests of the rest."""
        digests = [keys.damaged_digest(found.key) async for found in self._objects.listed(keys.DAMAGED)]
        return [digest for digest in digests if digest and await self._still(digest)]

    async def _still(self, digest: str) -> bool:
        folder = await self.of(digest)
        if not folder.sound:
            right = [place for place in folder.damaged if not await self._wrong(place, digest)]
            if folder.damaged and not right:
                return True
            await self.give_up([place for place in folder.damaged if place not in right], digest)
        else:
            await self.give_up(folder.damaged, digest)
        await self._objects.delete(*folder.marks, keys.damaged(digest))
        return False

    async def delete(self, digest: str) -> None:
        """Remove all places of a blob."""
        folder = await self.of(digest)
        await self.give_up([*folder.sound, *folder.damaged], digest)
        if folder.marks:
            await self._objects.delete(*folder.marks, keys.damaged(digest))

    async def give_up(self, places: Sequence[keys.ParsedKey], digest: str) -> None:
        """Remove these places of a blob."""
        for place in places:
            await self._uploads.give_up(place, digest)

    async def _wrong(self, place: keys.ParsedKey, digest: str) -> str:
        """What is wrong with the bytes at a place; "" if nothing is."""
        size = await self._objects.size(place.key)
        if size is None:
            return "its bytes are not in the bucket"
        if size != place.size:
            return f"it has {size} bytes, not {place.size}"
        try:
            return told_wrong(digest, size, await self.hash(place, digest))
        except Missing:
            return "its bytes are not in the bucket"

    async def hash(self, place: keys.ParsedKey, digest: str) -> str:
        """The digest that the bytes at a place have, by the algorithm of that one. Raises StorageError."""
        algorithm = digest.partition(":")[0]
        hashing = hashlib.new(algorithm)
        if place.size:
            async for chunk in self._objects.read(place.key, 0, place.size):
                await asyncio.to_thread(hashing.update, chunk)
        return f"{algorithm}:{hashing.hexdigest()}"


def _folder(found: Sequence[Listed]) -> Folder:
    marks = {one.key for one in found if keys.is_mark(one.key)}
    sound, damaged = list[keys.ParsedKey](), list[keys.ParsedKey]()
    at: datetime | None = None
    for one in found:
        place = keys.place(one.key, one.size)
        if place is None:
            continue
        if keys.mark(one.key, one.version) in marks:
            damaged.append(place)
        else:
            at = at or one.at
            sound.append(place)
    return Folder(sound, damaged, sorted(marks), at)


def _blob(digest: str, found: Sequence[Listed]) -> tuple[str, int, datetime] | None:
    folder = _folder(found) if digest else Folder()
    return (digest, folder.sound[0].size, folder.at) if folder.sound and folder.at else None
