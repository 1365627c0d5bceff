"""Blobs and uploads in memory: for tests and trials. Nothing outlives the object."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime

from lumper.errors import StorageError
from lumper.model.images.image import Name, digest_of, is_digest
from lumper.registry import paths
from lumper.registry.port import StoredBlob
from lumper.registry.storage.damage import told_wrong

_CHUNK = 1 << 20
_PAGE = 1000  # names


class MemoryStorage:
    """The storage port over two dictionaries."""

    def __init__(self) -> None:
        self._blobs: dict[str, bytes] = {}
        self._times: dict[str, datetime] = {}
        self._uploads: dict[str, tuple[bytearray, datetime]] = {}
        self._names: dict[tuple[str, str], tuple[str, datetime]] = {}
        self._aside: dict[str, bytes] = {}
        self._identity = ""

    @property
    def shared(self) -> bool:
        """It is this process's own."""
        return False

    async def stat(self, digest: str) -> StoredBlob | None:
        """The blob, or None."""
        data = self._blobs.get(_checked(digest))
        return None if data is None else StoredBlob(digest, len(data))

    def remembered(self, digest: str) -> StoredBlob | None:
        """The blob, or None."""
        data = self._blobs.get(digest)
        return None if data is None else StoredBlob(digest, len(data))

    async def address(self, digest: str) -> str | None:
        """None: nobody else can read this memory."""
        return None

    async def read(self, digest: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The bytes from `start` up to, without, `end`."""
        data = self._blobs.get(_checked(digest))
        if data is None:
            raise StorageError(f"There is no blob {digest}.")
        end = len(data) if end is None else min(end, len(data))
        for position in range(start, end, _CHUNK):
            yield data[position : min(position + _CHUNK, end)]

    async def put(self, digest: str, data: bytes) -> None:
        """Store a small blob whole."""
        self._blobs[_checked(digest)] = bytes(data)
        self._times[digest] = datetime.now(UTC)

    async def begin(self, upload: str) -> None:
        """Make an empty upload of this name."""
        if upload in self._uploads:
            raise StorageError(f"There is an upload {upload} already.")
        self._uploads[upload] = (bytearray(), datetime.now(UTC))

    async def append(self, upload: str, offset: int, data: AsyncIterator[bytes]) -> int:
        """Write at `offset`; the new size. What came before an error is kept."""
        content = self._upload(upload)
        if len(content) != offset:
            raise StorageError(f"The upload has {len(content)} bytes, not {offset}.")
        async for part in data:
            content += part
            self._uploads[upload] = (content, datetime.now(UTC))
        return len(content)

    async def uploaded(self, upload: str) -> int | None:
        """The size of the upload, or None if there is none."""
        entry = self._uploads.get(upload)
        return None if entry is None else len(entry[0])

    async def commit(self, upload: str, digest: str, rest: bytes = b"") -> StoredBlob | None:
        """Make the upload, with `rest` at its end, the blob of this digest; None if the bytes have another one."""
        _checked(digest)
        content = bytes(self._upload(upload)) + rest
        del self._uploads[upload]
        if digest_of(content, digest) != digest:
            return None
        self._blobs[digest] = content
        self._times[digest] = datetime.now(UTC)
        return StoredBlob(digest, len(content))

    async def abort(self, upload: str) -> None:
        """Forget the upload."""
        self._uploads.pop(upload, None)

    async def uploads(self) -> list[tuple[str, datetime]]:
        """All uploads with the time of their last byte."""
        return sorted((name, at) for name, (_, at) in self._uploads.items())

    async def blobs(self, after: str = "", limit: int = 1000) -> list[tuple[str, int, datetime]]:
        """Digest, size and time of at most `limit` blobs after `after`, in lexical order."""
        found = sorted(digest for digest in self._blobs if digest > after)[:limit]
        return [(digest, len(self._blobs[digest]), self._times[digest]) for digest in found]

    async def delete(self, digest: str) -> None:
        """Remove the blob."""
        self._blobs.pop(_checked(digest), None)
        self._aside.pop(digest, None)

    async def set_aside(self, digest: str) -> str:
        """Put the blob away if its bytes are wrong; what is wrong with them."""
        data = self._blobs.get(_checked(digest))
        why = "" if data is None else told_wrong(digest, len(data), digest_of(data, digest))
        if data is not None and why:
            self._aside[digest] = self._blobs.pop(digest)
        return why

    async def review(self) -> list[str]:
        """Nothing becomes right here by itself: what was stored anew goes."""
        self._aside = {digest: data for digest, data in self._aside.items() if digest not in self._blobs}
        return sorted(self._aside)

    async def note(self, name: Name) -> None:
        """Say this of its repository's reference."""
        paths.named(name.repository, name.reference)
        self._names[name.repository, name.reference] = (name.says, datetime.now(UTC))

    async def noted(self, repository: str, reference: str) -> str | None:
        """What is said of the reference."""
        paths.named(repository, reference)
        says, _ = self._names.get((repository, reference), (None, None))
        return says

    async def erase(self, repository: str, reference: str) -> None:
        """Say nothing more of the reference."""
        paths.named(repository, reference)
        self._names.pop((repository, reference), None)

    async def names(self) -> AsyncIterator[list[tuple[Name, datetime]]]:
        """All that is said."""
        found = [(Name(*key, says), at) for key, (says, at) in self._names.items()]
        found.sort(key=lambda one: (one[0].repository, one[0].is_tag, one[0].reference))
        for start in range(0, len(found), _PAGE):
            yield found[start : start + _PAGE]

    async def identity(self) -> str:
        """The id that it was given."""
        return self._identity

    async def identify(self, identity: str) -> None:
        """Keep this id."""
        self._identity = identity

    async def close(self) -> None:
        """Nothing is held."""

    def _upload(self, name: str) -> bytearray:
        if name not in self._uploads:
            raise StorageError(f"There is no upload {name}.")
        return self._uploads[name][0]


def _checked(digest: str) -> str:
    if not is_digest(digest):
        raise StorageError(f"{digest!r} is not a digest.")
    return digest
