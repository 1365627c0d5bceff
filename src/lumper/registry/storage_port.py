"""The port behind which bytes lie; port.py is where others find it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol, runtime_checkable

from lumper.model.images.image import Name


@dataclass(frozen=True)
class StoredBlob:
    """A blob that is there whole. `path` is set where a local file can be sent by sendfile(2)."""

    digest: str
    size: int
    path: Path | None = None


@runtime_checkable
class Pourable(Protocol):
    """Data that need not come through the event loop."""

    async def pour(self, sink: Callable[[memoryview], None]) -> None:
        """Instead of being iterated over: call `sink` in a thread, one call after the other, with all bytes.

        A view holds only as long as the call. What `sink` raises ends it and is raised.
        """


class Storage(Protocol):
    """Where blobs lie, by digest, and uploads on their way to become one.

    Bytes appear under a digest only after they were all written, hashed and made durable; a crash at any moment leaves
    either the whole blob or none. Methods may run at the same time; each upload has one writer at a time (the caller
    sees to it). Raises StorageFull when there is no space, StorageError for any other trouble.
    """

    @property
    def shared(self) -> bool:
        """Whether other processes may use it at the same time."""

    async def identity(self) -> str:
        """The id by which the metadata know this storage, or a copy of it; "" for none.

        Once there was one, and while it cannot be found, methods raise StorageError instead of saying that something is
        not there: a folder that is not mounted looks empty.
        """

    async def identify(self, identity: str) -> None:
        """Keep this id. Durable on return."""

    async def stat(self, digest: str) -> StoredBlob | None:
        """The blob, or None."""

    def remembered(self, digest: str) -> StoredBlob | None:
        """What `stat` found lately; None: ask `stat`."""

    async def address(self, digest: str) -> str | None:
        """A URL at which whoever has it can read this blob for some minutes, without us; None: read it here.

        For a blob that `stat` has found.
        """

    def read(self, digest: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The bytes from `start` up to, without, `end`, in chunks of at most 1 MiB.

        Raises StorageError if the blob is not there.
        """

    async def put(self, digest: str, data: bytes) -> None:
        """Store a small blob whole (a manifest). The caller has checked the digest."""

    async def begin(self, upload: str) -> None:
        """Make an empty upload of this name (letters, digits, dashes). Until a byte came, a restart may forget it."""

    async def append(self, upload: str, offset: int, data: AsyncIterator[bytes]) -> int:
        """Write at `offset`, which must be the upload's size; the new size. After an error the bytes are kept or not.

        `data` may be `Pourable`, and be poured then.

        Raises StorageError for an unknown upload or a wrong offset.
        """

    async def uploaded(self, upload: str) -> int | None:
        """The size of the upload, once it has one also after a restart, or None if there is none."""

    async def commit(self, upload: str, digest: str, rest: bytes = b"") -> StoredBlob | None:
        """Make the upload, with `rest` (not much) at its end, the blob of this digest.

        Returns None, and keeps nothing, if the bytes have another one.
        """

    async def abort(self, upload: str) -> None:
        """Forget the upload. No error if there is none."""

    async def uploads(self) -> list[tuple[str, datetime]]:
        """All uploads with the time of their last byte."""

    async def blobs(self, after: str = "", limit: int = 1000) -> list[tuple[str, int, datetime]]:
        """Digest, size and time of at most `limit` blobs whose digest comes after `after`, in lexical order."""

    async def delete(self, digest: str) -> None:
        """Remove the blob, and what was set aside of it. No error if there is none."""

    async def set_aside(self, digest: str) -> str:
        """Read the blob and, if its bytes are wrong, set it aside, so that it is not there; what is wrong, or "".

        Nobody in this process may store it meanwhile.
        """

    async def review(self) -> list[str]:
        """Look again at what was set aside; the digests of what stays aside.

        What is right comes back, and what was stored anew meanwhile is removed.
        """

    async def note(self, name: Name) -> None:
        """Keep what a reference of a repository is, in place of what was kept before. Durable on return.

        Of two calls at the same time one wins. Raises StorageError for what is not `legal`.
        """

    async def noted(self, repository: str, reference: str) -> str | None:
        """What `note` has kept of the reference; None if nothing."""

    async def erase(self, repository: str, reference: str) -> None:
        """Forget what `note` has kept of the reference. No error if nothing was kept. Durable on return."""

    def names(self) -> AsyncIterator[list[tuple[Name, datetime]]]:
        """All that `note` has kept, with its time, in pages of at most 1000 names, unchecked.

        Of each repository the manifests come before the tags.
        """

    async def close(self) -> None:
        """Release what is held. Idempotent."""
