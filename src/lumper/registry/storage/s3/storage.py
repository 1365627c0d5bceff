"""The storage port over an S3 bucket: AWS, Ceph's RGW, and what else speaks S3."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path

from obstore.exceptions import BaseError

from lumper.errors import Invalid, StorageError
from lumper.model.images.image import Name
from lumper.registry.port import StoredBlob
from lumper.registry.storage.s3 import keys
from lumper.registry.storage.s3.blob_locations import BlobLocations, Folder
from lumper.registry.storage.s3.bucket import Bucket
from lumper.registry.storage.s3.multipart import Multipart
from lumper.registry.storage.s3.objects import Objects
from lumper.registry.storage.s3.progress import Progress
from lumper.registry.storage.s3.refusal import Missing
from lumper.registry.storage.s3.uploads import Uploads
from lumper.registry.ttl_cache import TtlCache

_NAMES_AT_ONCE = 100
_LONGEST_NAME = 512  # bytes of a media type or a digest; what is longer is neither
_STAT_SECONDS = 5.0  # how long a blob that was seen is believed to be there still


class S3Storage:
    """A bucket, or a part of one, that several processes may use at once.

    A blob becomes visible by one request that S3 does whole or not at all, after its bytes were hashed. They are hashed
    as they come; after a restart, or when processes take turns at one upload, they are read once more for it.
    """

    def __init__(self, bucket: Bucket, *, redirect: bool = True, folder: Path | None = None) -> None:
        """`folder` is on a disk, for bytes on their way. Raises Invalid for a bucket that cannot be reached so."""
        try:
            self._multipart = Multipart(bucket)
            self._objects = Objects(bucket)
        except (OSError, ValueError, BaseError) as exc:  # ssl.SSLError is an OSError
            hint = "Check [registry] endpoint, and that ca_file holds certificates as PEM."
            raise Invalid(
                f"The S3 service at {bucket.endpoint} cannot be used with these settings.", hint=hint
            ) from exc
        self._uploads = Uploads(self._objects, self._multipart, folder)
        self._places = BlobLocations(self._objects, self._uploads)
        self._redirect = redirect
        self._identity = ""
        self._seen = TtlCache[keys.ParsedKey]()

    @property
    def shared(self) -> bool:
        """Several servers may have one bucket."""
        return True

    async def stat(self, digest: str) -> StoredBlob | None:
        """The blob, or None."""
        place = await self._place(digest)
        return None if place is None else StoredBlob(digest, place.size)

    def remembered(self, digest: str) -> StoredBlob | None:
        """What `stat` has found lately."""
        place = self._seen.get(digest)
        return None if place is None else StoredBlob(digest, place.size)

    async def address(self, digest: str) -> str | None:
        """A presigned URL, unless that is switched off."""
        place = await self._place(digest) if self._redirect else None
        return None if place is None else await self._objects.address(place.key)

    async def _place(self, digest: str) -> keys.ParsedKey | None:
        if (seen := self._seen.get(digest)) is not None:
            return seen
        place = next(iter((await self._places.of(digest)).sound), None)
        if place is None:
            await self._look()
        if place is not None:
            self._remember(digest, place)
        return place

    def _remember(self, digest: str, place: keys.ParsedKey) -> None:
        self._seen.keep(digest, place, _STAT_SECONDS)

    async def read(self, digest: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The bytes from `start` up to, without, `end`."""
        place = await self._place(digest)
        if place is None:
            raise StorageError(f"There is no blob {digest}.")
        end = place.size if end is None else min(end, place.size)
        if start < end:
            async for chunk in self._objects.read(place.key, start, end):
                yield chunk

    async def put(self, digest: str, data: bytes) -> None:
        """Store a small blob whole."""
        await self._objects.put(keys.whole(digest), data)

    async def begin(self, upload: str) -> None:
        """Make an empty upload of this name."""
        await self._uploads.begin(upload)

    async def append(self, upload: str, offset: int, data: AsyncIterator[bytes]) -> int:
        """Write at `offset`; the new size. What came before an error of `data` is kept."""
        return await self._uploads.append(upload, offset, data)

    async def uploaded(self, upload: str) -> int | None:
        """The size of the upload, or None if there is none."""
        return await self._uploads.size(upload)

    async def commit(self, upload: str, digest: str, rest: bytes = b"") -> StoredBlob | None:
        """Make the upload, with `rest` at its end, the blob of this digest; None if the bytes have another one."""
        keys.blob(digest)
        progress = await self._uploads.load(upload)
        if not progress.etags:
            await asyncio.to_thread(progress.add, [rest])
            return await self._commit_small(progress, digest)
        if rest:
            await self._uploads.append(upload, progress.size, _once(rest))
            progress = await self._uploads.load(upload)
        found = progress.digest if digest.startswith("sha256:") else None
        if found is not None and found != digest:
            await self._uploads.drop(upload)
            return None
        before = await self._places.of(digest) if found else Folder()
        lost = [place for place in before.sound if await self._objects.size(place.key) != place.size]
        if len(before.sound) > len(lost):  # the same layer, pushed before: its bytes need not lie here twice
            await self._uploads.drop(upload)
            return StoredBlob(digest, progress.size)
        fresh = await self._uploads.join(progress, digest)
        place = keys.ParsedKey(keys.data(upload), progress.size)
        if not (found and fresh) and await self._places.hash(place, digest) != digest:
            await self._uploads.drop(upload)
            return None
        await self._objects.put(keys.elsewhere(digest, progress.size, upload), b"")
        await self._places.give_up(lost, digest)
        await self._uploads.forget(upload)
        self._remember(digest, place)
        return StoredBlob(digest, progress.size)

    async def _commit_small(self, progress: Progress, digest: str) -> StoredBlob | None:
        """The bytes are all here: they become one object. Those written down before go with the upload."""
        hashing = hashlib.new(digest.partition(":")[0])
        await asyncio.to_thread(progress.tail.hash_into, hashing)
        if f"{hashing.name}:{hashing.hexdigest()}" != digest:
            await self._uploads.drop(progress.name)
            return None
        await self._uploads.put(keys.whole(digest), progress.tail)
        await self._uploads.forget(progress.name)
        self._remember(digest, keys.ParsedKey(keys.whole(digest), progress.size))
        return StoredBlob(digest, progress.size)

    async def abort(self, upload: str) -> None:
        """Forget the upload."""
        await self._uploads.drop(upload)

    async def uploads(self) -> list[tuple[str, datetime]]:
        """All uploads with the time when bytes of them were last written down, which is at least every 256 MiB."""
        return await self._uploads.all()

    async def blobs(self, after: str = "", limit: int = 1000) -> list[tuple[str, int, datetime]]:
        """Digest, size and time of at most `limit` blobs after `after`, in lexical order."""
        found: list[tuple[str, int, datetime]] = []
        if limit > 0:
            async for one in self._places.all(after):
                found.append(one)
                if len(found) == limit:
                    break
        if not found and not after:
            await self._look()
        return found

    async def delete(self, digest: str) -> None:
        """Remove the blob: first what leads to its bytes, then they."""
        self._seen.forget(digest)
        await self._places.delete(digest)
        self._seen.forget(digest)

    async def set_aside(self, digest: str) -> str:
        """Treat the blob as not there if its bytes are wrong; what is wrong with them."""
        self._seen.forget(digest)
        why = await self._places.set_aside(digest)
        self._seen.forget(digest)
        return why

    async def review(self) -> list[str]:
        """What was set aside and is neither right nor there anew."""
        return await self._places.review()

    async def note(self, name: Name) -> None:
        """Say this of its repository's reference."""
        await self._objects.put(keys.name(name.repository, name.reference), name.says.encode())

    async def noted(self, repository: str, reference: str) -> str | None:
        """What is said of the reference."""
        return await self._says(keys.name(repository, reference))

    async def _says(self, key: str) -> str | None:
        try:
            return (await self._objects.get(key)).decode("utf-8", "replace")
        except Missing:
            return None

    async def erase(self, repository: str, reference: str) -> None:
        """Say nothing more of the reference."""
        await self._objects.delete(keys.name(repository, reference))

    async def names(self) -> AsyncIterator[list[tuple[Name, datetime]]]:
        """All that is said: each page is read with many requests at once."""
        page: list[tuple[str, datetime]] = []
        async for found in self._objects.listed(keys.NAMES):
            if found.size <= _LONGEST_NAME:
                page.append((found.key, found.at))
            if len(page) == _NAMES_AT_ONCE:
                yield await self._named(page)
                page = []
        if page:
            yield await self._named(page)

    async def _named(self, page: list[tuple[str, datetime]]) -> list[tuple[Name, datetime]]:
        said = await asyncio.gather(*(self._says(key) for key, _ in page))
        return [
            (Name(*keys.named(key), says), at) for (key, at), says in zip(page, said, strict=True) if says is not None
        ]

    async def identity(self) -> str:
        """The id that it was given."""
        await self._look()
        self._identity = await self._says(keys.IDENTITY) or ""
        return self._identity

    async def identify(self, identity: str) -> None:
        """Keep this id."""
        await self._objects.put(keys.IDENTITY, identity.encode())
        self._identity = identity

    async def _look(self) -> None:
        """Where nothing was found: raise StorageError unless this still is the bucket that it was.

        It may have been emptied, and what stands in front of it may answer anything: a listing of that is an empty one.
        """
        if self._identity and await self._says(keys.IDENTITY) != self._identity:
            raise StorageError(
                "The images are not in the bucket any more.", hint="Check [registry] endpoint and storage."
            )

    async def close(self) -> None:
        """End the connections."""
        await self._multipart.close()


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data
