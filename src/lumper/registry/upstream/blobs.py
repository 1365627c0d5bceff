"""Blobs of cached repositories: fetched once, handed on while they arrive.

Where there is no room for one, whoever asks has it from upstream without its being kept.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable

from lumper.errors import (
    LumperError,
    RegistryError,
    RemoteError,
    RemoteInvalid,
    RemoteUnauthorized,
    StorageError,
)
from lumper.logs import get_logger
from lumper.registry.blobs import Blobs, Session
from lumper.registry.errors import refuse
from lumper.registry.holds import Holds
from lumper.registry.port import Alone, Metadata, Storage, StoredBlob
from lumper.registry.quota import Quotas
from lumper.registry.ttl_cache import TtlCache
from lumper.registry.upstream.arrival import Arrival, ArrivingBlob
from lumper.registry.upstream.errors import as_answer
from lumper.registry.upstream.passing import PassingBlob, Source
from lumper.registry.upstream.single_flight import SingleFlight
from lumper.registry.upstream.upstreams import Upstreams

_ABSENT_SECONDS = 10.0

_Had = Callable[[Source, str, str], Awaitable[StoredBlob]]

log = get_logger(__name__)


class CachedBlobs(Blobs):
    """The blobs of all repositories, some of which are caches."""

    def __init__(
        self, storage: Storage, metadata: Metadata, holds: Holds, quotas: Quotas, alone: Alone, upstreams: Upstreams
    ) -> None:
        super().__init__(storage, metadata, holds, quotas, alone)
        self._upstreams = upstreams
        self._arrivals: dict[tuple[str, str], tuple[Arrival, asyncio.Task[None]]] = {}
        self._linking: SingleFlight[StoredBlob | None] = SingleFlight()
        self._absent = TtlCache[bool]()

    async def stat(self, repository: str, digest: str) -> StoredBlob:
        """The blob; of a cached repository perhaps one that is still arriving. Raises RegistryError, StorageError."""
        return await self._found(repository, digest, self._fetched)

    async def look(self, repository: str, digest: str) -> StoredBlob:
        """The same, without having it come for that."""
        return await self._found(repository, digest, self._told)

    async def _found(self, repository: str, digest: str, had: _Had) -> StoredBlob:
        upstream = self._upstreams.of(repository)
        if upstream is None:
            return await super().stat(repository, digest)
        try:
            return await super().stat(repository, digest)
        except RegistryError as exc:
            if exc.code != "BLOB_UNKNOWN" or not upstream.serves(repository) or (repository, digest) in self._absent:
                raise
        source = Source(upstream.registry, upstream.remote_name(repository), digest)
        try:
            return await _had_or_passed_on(had, source, repository, digest)
        except StorageError:
            raise
        except LumperError as exc:
            answer = as_answer(exc, "BLOB_UNKNOWN", digest)
            if answer.code == "BLOB_UNKNOWN":
                self._absent.keep((repository, digest), True, _ABSENT_SECONDS)
            else:
                log.warning("a blob was not had from upstream", action="upstream.blob", repository=repository,
                            digest=digest, error=exc.message)  # fmt: skip
            raise answer from exc

    async def _told(self, source: Source, repository: str, digest: str) -> StoredBlob:
        """The blob as upstream tells of it; what it does not tell is seen when it gives the blob."""
        if (repository, digest) not in self._arrivals and (size := await _size(source)):
            return PassingBlob(digest, size, source=source)
        return await self._fetched(source, repository, digest)

    async def _fetched(self, source: Source, repository: str, digest: str) -> StoredBlob:
        key = (repository, digest)
        if key not in self._arrivals:
            stored = await self._linking(key, lambda: self._linked(source, repository, digest))
            if stored is not None:
                return stored
        if key not in self._arrivals:
            arrival = Arrival(self._upstreams.folder)
            task = asyncio.create_task(self._arrive(source, repository, digest, arrival))
            task.add_done_callback(lambda done: done.cancelled() or done.exception())  # the readers are told
            self._arrivals[key] = (arrival, task)
        arrival, task = self._arrivals[key]
        await arrival.started.wait()
        if arrival.size is None or arrival.size == 0 or arrival.ended:
            await asyncio.shield(task)
            return await super().stat(repository, digest)
        return ArrivingBlob(digest, arrival.size, arrival=arrival, source=source)

    async def _linked(self, source: Source, repository: str, digest: str) -> StoredBlob | None:
        """The blob, if another repository has brought it here already, and upstream tells that this one has it too."""
        if await self._storage.stat(digest) is None or await _size(source) is None:
            return None
        async with self._holds.using(repository, [digest]):
            stored = await self._storage.stat(digest)
            if stored is not None:
                await self._metadata.link_blob(repository, digest, stored.size)
        return stored

    async def _arrive(self, source: Source, repository: str, digest: str, arrival: Arrival) -> None:
        trouble: LumperError | None = RemoteError("The server has ended.")
        try:
            await self._store(source, repository, digest, arrival)
            trouble = None
        except LumperError as exc:
            trouble = exc
            raise
        finally:
            arrival.end(trouble)
            del self._arrivals[repository, digest]

    async def _store(self, source: Source, repository: str, digest: str, arrival: Arrival) -> None:
        upload = f"arrival-{secrets.token_hex(16)}"
        await self._storage.begin(upload)
        try:
            await self._storage.append(upload, 0, arrival.fetch(source))
            async with self._holds.using(repository, [digest]):
                stored = await self._storage.commit(upload, digest)
                if stored is None:
                    raise RemoteInvalid(f"The bytes that came for {digest} have another digest.")
                await self._metadata.link_blob(repository, digest, stored.size)
        except BaseException:
            await asyncio.shield(self._storage.abort(upload))
            raise

    def read(self, blob: StoredBlob, start: int, end: int) -> AsyncIterator[bytes]:
        """The bytes of a blob from `stat`, as they come. Raises RemoteError in the middle."""
        if isinstance(blob, PassingBlob) and blob.source:
            return blob.source.read(start, end, blob.size)
        if isinstance(blob, ArrivingBlob) and blob.arrival and blob.source and not blob.arrival.stored:
            return self._followed(blob, blob.arrival, blob.source, start, end)
        return super().read(blob, start, end)

    async def _followed(
        self, blob: StoredBlob, arrival: Arrival, source: Source, start: int, end: int
    ) -> AsyncIterator[bytes]:
        """The bytes as they arrive, and those after them from upstream itself when there is no room for more here."""
        position = start
        try:
            async for chunk in arrival.read(start, end):
                yield chunk
                position += len(chunk)
        except StorageError as exc:
            _log_passing(source, exc)
        if position < end:
            async for chunk in source.read(start, end, blob.size, position):
                yield chunk

    async def address(self, blob: StoredBlob) -> str | None:
        """A URL at which the client can fetch this blob, if it has arrived."""
        return None if isinstance(blob, ArrivingBlob | PassingBlob) else await super().address(blob)

    async def mount(self, repository: str, digest: str, source: str) -> bool:
        """Let `repository`, which is no cache, serve a blob of `source`."""
        check_pushable(self._upstreams, repository)
        return await super().mount(repository, digest, source)

    async def begin(self, repository: str, owner: str, digest: str = "") -> Session:
        """Begin an upload. Raises RegistryError DENIED for a cached repository."""
        check_pushable(self._upstreams, repository)
        return await super().begin(repository, owner, digest)

    async def close(self) -> None:
        """Give up what is arriving."""
        await self._linking.close()
        tasks = [task for _, task in self._arrivals.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def check_pushable(upstreams: Upstreams, repository: str) -> None:
    """Raise RegistryError DENIED for a cached repository: what it holds is what is upstream, and nothing else."""
    if upstream := upstreams.of(repository):
        raise refuse("DENIED", f"{repository} mirrors {upstream.registry.url}: nothing is pushed to it.")


async def _size(source: Source) -> int | None:
    """The bytes of the blob, 0 if upstream does not tell how many; None if it does not tell of the blob.

    That may be there all the same: some registries have no HEAD of blobs, others none of what they mirror themselves.
    """
    try:
        return await source.registry.blob_size(source.repository, source.digest)
    except RemoteUnauthorized:
        return None


async def _had_or_passed_on(had: _Had, source: Source, repository: str, digest: str) -> StoredBlob:
    try:
        return await had(source, repository, digest)
    except StorageError as exc:
        return await _passed_on(source, exc)


async def _passed_on(source: Source, trouble: StorageError) -> StoredBlob:
    """The blob as it is upstream. Raises RemoteError, and `trouble` if upstream does not tell its size."""
    size = await _size(source)
    if not size:  # what it does not tell of it may give
        async with source.registry.blob(source.repository, source.digest) as incoming:
            size = incoming.size
    if not size:
        raise trouble
    _log_passing(source, trouble)
    return PassingBlob(source.digest, size, source=source)


def _log_passing(source: Source, trouble: StorageError) -> None:
    log.error("a blob is handed on without being kept", action="upstream.not_kept", repository=source.repository,
              digest=source.digest, error=trouble.sentence)  # fmt: skip
