"""Blobs and their uploads: what a repository may serve, and how bytes become a blob."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime

from lumper.errors import RegistryError, RuleForbids, StorageError
from lumper.model.images.image import is_digest
from lumper.registry.errors import refuse
from lumper.registry.holds import Holds
from lumper.registry.port import Alone, BlobMetadata, Storage, StoredBlob
from lumper.registry.quota import Quotas

CANCEL_SECONDS = 10.0  # in which the end of a request is noticed that was broken off

_NONCES = 256
_UPLOAD = re.compile(r"[0-9a-f]{32}-[0-9a-f]{16}")


@dataclass(frozen=True)
class Session:
    """An upload as its owner names it. `owner` is any text that is the same for every request of one client."""

    repository: str
    owner: str
    name: str


class Blobs:
    """The blobs of all repositories. A blob that one repository has is not readable in another one."""

    def __init__(self, storage: Storage, metadata: BlobMetadata, holds: Holds, quotas: Quotas, alone: Alone) -> None:
        self._storage = storage
        self._metadata = metadata
        self._holds = holds
        self._quotas = quotas
        self._alone_of_all = alone
        self._nonces: list[str] = []

    async def stat(self, repository: str, digest: str) -> StoredBlob:
        """The blob. Raises RegistryError: DIGEST_INVALID, BLOB_UNKNOWN."""
        check_digest(digest)
        await self._holds.asked(repository, digest)
        if await self._has(repository, digest):
            blob = await self._storage.stat(digest)
            if blob is not None:
                return blob
        self._holds.not_there(repository, digest)
        raise refuse("BLOB_UNKNOWN", detail=digest)

    async def look(self, repository: str, digest: str) -> StoredBlob:
        """What `stat` says, for who does not want the bytes: `read` is not to follow. Raises the same."""
        return await self.stat(repository, digest)

    async def _has(self, repository: str, digest: str) -> bool:
        there = await self._metadata.has_blob(repository, digest)
        if there and await self._holds.rely(repository, digest):
            return await self._metadata.has_blob(repository, digest)
        return there

    def remembered(self, repository: str, digest: str) -> StoredBlob | None:
        """What `stat` would say, if all of it is in memory; None: ask it."""
        blob = self._storage.remembered(digest) if self._metadata.remembers_blob(repository, digest) else None
        return blob if blob is not None and self._holds.rely_at_once(repository, digest) else None

    async def address(self, blob: StoredBlob) -> str | None:
        """A URL at which the client can fetch this blob from `stat` without us; None: it has to be sent from here."""
        return await self._storage.address(blob.digest)

    def read(self, blob: StoredBlob, start: int, end: int) -> AsyncIterator[bytes]:
        """The bytes of a blob from `stat`, where it has no path to send."""
        return self._storage.read(blob.digest, start, end)

    async def gone(self, blob: StoredBlob) -> RegistryError:
        """The error for a blob from `stat` whose file is gone now. Raises StorageError if the whole storage is away."""
        await self._storage.identity()
        return refuse("BLOB_UNKNOWN", detail=blob.digest)

    async def delete(self, repository: str, digest: str) -> None:
        """The repository no longer serves the blob. Raises RegistryError: DIGEST_INVALID, BLOB_UNKNOWN."""
        check_digest(digest)
        if not await self._metadata.unlink_blob(repository, digest):
            raise refuse("BLOB_UNKNOWN", detail=digest)

    async def mount(self, repository: str, digest: str, source: str) -> bool:
        """Let `repository` serve a blob of `source`, which the caller may read; whether it is there to be served.

        Raises RuleForbids for a quota.
        """
        check_digest(digest)
        async with self._holds.using(source, [digest]):
            if not await self._metadata.has_blob(source, digest):
                return False
            blob = await self._storage.stat(digest)
            if blob is None:
                return False
            async with self._quotas.admit(repository, digest, blob.size):
                await self._metadata.link_blob(repository, digest, blob.size)
        return True

    async def repositories_with(self, digest: str) -> list[str]:
        """Some repositories that may serve the blob. Raises RegistryError DIGEST_INVALID."""
        check_digest(digest)
        return await self._metadata.repositories_with(digest)

    async def begin(self, repository: str, owner: str, digest: str = "") -> Session:
        """Begin an upload, of this `digest` if that is said. Raises RuleForbids if a quota has no room for it."""
        await self._quotas.check_room(repository, digest=digest)
        nonce = self._nonce()
        session = Session(repository, owner, f"{nonce}-{_seal(nonce, repository, owner)}")
        await self._storage.begin(session.name)
        return session

    def _nonce(self) -> str:
        """32 random hexadecimal digits. Many are made at a time: a visit to the kernel costs Python's global lock."""
        if not self._nonces:
            made = secrets.token_hex(16 * _NONCES)
            self._nonces = [made[at : at + 32] for at in range(0, len(made), 32)]
        return self._nonces.pop()

    async def size(self, session: Session) -> int:
        """How many bytes came so far. Raises RegistryError BLOB_UPLOAD_UNKNOWN, also for another owner's upload."""
        _check_seal(session)
        size = await self._storage.uploaded(session.name)
        if size is None:
            raise refuse("BLOB_UPLOAD_UNKNOWN")
        return size

    async def append(self, session: Session, start: int | None, data: AsyncIterator[bytes]) -> int:
        """Write the next bytes, which begin at `start` (None: wherever the upload is); the new size.

        Raises RegistryError: BLOB_UPLOAD_UNKNOWN, RANGE_INVALID (also while another request writes); RuleForbids.
        """
        async with self._writing(session, start) as size:
            await self._quotas.check_room(session.repository, size)
            return await self._storage.append(session.name, size, data)

    async def finish(
        self, session: Session, digest: str, start: int | None = None, data: AsyncIterator[bytes] | bytes = b""
    ) -> StoredBlob:
        """Write the last bytes, if any, and make the upload a blob of its repository.

        Raises RegistryError: DIGEST_INVALID (then the upload is gone), BLOB_UPLOAD_UNKNOWN, RANGE_INVALID; RuleForbids
        if it is too large for a quota (then it is gone, too).
        """
        check_digest(digest)
        async with self._writing(session, start) as size:
            rest = data if isinstance(data, bytes) else b""
            if not isinstance(data, bytes):
                size = await self._storage.append(session.name, size, data)
            async with self._holds.using(session.repository, [digest]):
                try:
                    async with self._quotas.admit(session.repository, digest, size + len(rest)):
                        blob = await self._storage.commit(session.name, digest, rest)
                        if blob is None:
                            raise refuse("DIGEST_INVALID", "The bytes that came have another digest.", detail=digest)
                        await self._metadata.link_blob(session.repository, digest, blob.size)
                except RuleForbids:
                    await self._storage.abort(session.name)
                    raise
        return blob

    async def cancel(self, session: Session) -> None:
        """Forget the upload. Raises RegistryError: BLOB_UPLOAD_UNKNOWN, RANGE_INVALID if another request still writes.

        Who breaks off a request and cancels at once may come before we have noticed its end: that is waited for.
        """
        until = time.monotonic() + CANCEL_SECONDS
        while True:
            try:
                async with self._writing(session, None):
                    await self._storage.abort(session.name)
                return
            except RegistryError as exc:
                if exc.code != "RANGE_INVALID" or time.monotonic() > until:
                    raise
            await asyncio.sleep(0.1)

    async def forget(self, session: Session) -> None:
        """Drop an upload that nobody will continue. No error if there is none."""
        await self._storage.abort(session.name)

    async def open_uploads(self) -> int:
        """How many uploads have begun and not ended. Raises StorageError."""
        return len(await self._storage.uploads())

    async def expire_uploads(self, before: datetime) -> int:
        """Forget the uploads whose last byte came before this time; how many."""
        count = 0
        for name in [name for name, at in await self._storage.uploads() if at < before]:
            async with self._alone_of_all(f"upload {name}") as mine:
                if mine:
                    count += 1
                    with contextlib.suppress(StorageError):  # it ended meanwhile
                        await self._storage.abort(name)
        return count

    async def close(self) -> None:
        """Nothing is under way."""

    @contextlib.asynccontextmanager
    async def _writing(self, session: Session, start: int | None) -> AsyncIterator[int]:
        """The size of an upload, to which nobody else writes during the block; its next byte is to be `start`.

        Raises RegistryError: BLOB_UPLOAD_UNKNOWN, RANGE_INVALID.
        """
        _check_seal(session)
        async with self._alone_of_all(f"upload {session.name}") as mine:
            if not mine:
                raise refuse("RANGE_INVALID", "Another request writes to this upload.")
            size = await self.size(session)
            if start is not None and start != size:
                raise refuse("RANGE_INVALID", f"The upload has {size} bytes; the next one is byte {size}.")
            yield size


def check_digest(digest: str) -> None:
    """Raise RegistryError DIGEST_INVALID for anything but a sha256 or sha512 digest in lower case."""
    if not is_digest(digest):
        raise refuse("DIGEST_INVALID", "A digest is sha256: and 64, or sha512: and 128, of the characters 0-9a-f.")


def _check_seal(session: Session) -> None:
    """Raise RegistryError BLOB_UPLOAD_UNKNOWN for a name that was not given to this owner."""
    nonce, _, seal = session.name.partition("-")
    if not _UPLOAD.fullmatch(session.name) or seal != _seal(nonce, session.repository, session.owner):
        raise refuse("BLOB_UPLOAD_UNKNOWN")


def _seal(nonce: str, repository: str, owner: str) -> str:
    """Binds the upload's name to whom it belongs: another caller cannot compute a name that exists."""
    return hashlib.sha256(f"{nonce}\n{repository}\n{owner}".encode("utf-8", "surrogatepass")).hexdigest()[:16]
