"""Manifests and tags of cached repositories: had from upstream once, kept, and asked for again when their time is over.

A tag is believed for its upstream's `ttl`; then one HEAD tells whether it has moved. When upstream cannot tell, what is
here is served, and a line is logged. What a person asks for says in the database that it is in use, at most once in
`_USED_SECONDS`: so an image that nobody wants goes after a while, and its layers with the next collection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from datetime import UTC, datetime, timedelta

from lumper.errors import (
    LumperError,
    RegistryError,
    RemoteNotFound,
    RemoteUnavailable,
    StorageError,
)
from lumper.logs import get_logger
from lumper.model.images.activity import Actor
from lumper.model.images.image import Manifest, NewManifest, is_digest
from lumper.registry.holds import Holds
from lumper.registry.manifests import Manifests
from lumper.registry.names import Names
from lumper.registry.port import Metadata, RuleMetadata, Storage
from lumper.registry.quota import Quotas
from lumper.registry.retention.pulls import Pulls
from lumper.registry.ttl_cache import TtlCache
from lumper.registry.upstream.blobs import check_pushable
from lumper.registry.upstream.errors import as_answer
from lumper.registry.upstream.single_flight import SingleFlight
from lumper.registry.upstream.upstreams import Upstream, Upstreams

_ABSENT_SECONDS = 10.0
_STALE_SECONDS = 30.0  # between two tries, while upstream cannot be asked
_USED_SECONDS = 6 * 3600.0

log = get_logger(__name__)


class CachedManifests(Manifests):
    """The manifests of all repositories, some of which are caches."""

    def __init__(
        self,
        storage: Storage,
        metadata: Metadata,
        holds: Holds,
        names: Names,
        quotas: Quotas,
        pulls: Pulls,
        upstreams: Upstreams,
    ) -> None:
        super().__init__(storage, metadata, holds, names, quotas, pulls)
        self._upstreams = upstreams
        self._rules: RuleMetadata = metadata
        self._fresh = TtlCache[bool]()
        self._absent = TtlCache[bool]()
        self._away = TtlCache[bool]()
        self._asking: SingleFlight[Manifest] = SingleFlight()

    async def find(self, repository: str, reference: str) -> Manifest:
        """The manifest that a tag or digest means, here or upstream. Raises RegistryError, StorageError."""
        upstream = self._upstreams.of(repository)
        if upstream is None:
            return await super().find(repository, reference)
        key, known, unknown = (repository, reference), None, None
        try:
            known = await super().find(repository, reference)
        except RegistryError as exc:
            if exc.code != "MANIFEST_UNKNOWN" or not upstream.serves(repository) or key in self._absent:
                raise
            unknown = exc
        if known is not None and (
            key in self._fresh or upstream.prefix in self._away or not upstream.serves(repository)
        ):
            return known
        try:
            asked = self._asking(key, lambda: self._asked(upstream, repository, reference, known))
            return await (asked if known is None else self._in_time(asked, upstream, repository, reference, known))
        except StorageError:
            raise
        except LumperError as exc:
            answer = as_answer(exc, "MANIFEST_UNKNOWN", reference)
            if answer.code == "MANIFEST_UNKNOWN":
                self._absent.keep(key, True, _ABSENT_SECONDS)
            raise answer from (unknown or exc)

    async def _in_time(
        self, asked: Awaitable[Manifest], upstream: Upstream, repository: str, reference: str, known: Manifest
    ) -> Manifest:
        """What upstream has, or what is here if it takes its time to say; then others do not wait for it either."""
        try:
            return await asyncio.wait_for(asked, upstream.patience)
        except TimeoutError:
            event = "upstream does not answer in time: what is here is served"
            log.warning(event, action="upstream.manifest", repository=repository, reference=reference)
            self._away.keep(upstream.prefix, True, _STALE_SECONDS)
            return known

    def remembered(self, repository: str, reference: str) -> tuple[Manifest, bytes] | None:
        """Also what is cached, as long as its upstream need not be asked for it."""
        if self._upstreams.of(repository) is not None and (repository, reference) not in self._fresh:
            return None
        return super().remembered(repository, reference)

    async def _asked(self, upstream: Upstream, repository: str, reference: str, known: Manifest | None) -> Manifest:
        if known is not None and is_digest(reference):
            await self._used(repository, reference, known)
            self._fresh.keep((repository, reference), True, _USED_SECONDS)
            return known
        try:
            found = await self._renewed(upstream, repository, reference, known)
        except RemoteNotFound:
            if known is not None:
                await self._metadata.delete_tag(repository, reference)
            raise
        except LumperError as exc:
            event = "upstream cannot be asked: what is here is served"
            if known is None:
                event = "a manifest was not had from upstream"
            log.warning(
                event, action="upstream.manifest", repository=repository, reference=reference, error=exc.message
            )
            if known is None:
                raise
            await self._used(repository, reference, known)
            self._fresh.keep((repository, reference), True, _STALE_SECONDS)
            if isinstance(exc, RemoteUnavailable):
                self._away.keep(upstream.prefix, True, _STALE_SECONDS)
            return known
        self._fresh.keep((repository, reference), True, _USED_SECONDS if is_digest(reference) else upstream.ttl)
        return found

    async def _renewed(self, upstream: Upstream, repository: str, reference: str, known: Manifest | None) -> Manifest:
        """The manifest that upstream has now; `known` if that is the same, or a rule says that the tag stays as it is.

        Raises RemoteError, StorageError.
        """
        name = upstream.remote_name(repository)
        if known is not None and (
            await self._immutable(repository, reference)
            or await upstream.registry.digest(name, reference) == known.digest
        ):
            await self._used(repository, reference, known)
            return known
        document = await upstream.registry.manifest(name, reference)
        try:
            await self._take(repository, reference, document.manifest, document.body)
        except StorageError as exc:
            if known is not None:
                raise
            log.error("a manifest is handed on without being kept", action="upstream.not_kept", repository=repository,
                      reference=reference, error=exc.sentence)  # fmt: skip
            self._keep(document.manifest.digest, document.body)
            return _passing(document.manifest)
        return await super().find(repository, document.manifest.digest)

    async def _immutable(self, repository: str, tag: str) -> bool:
        freezing = (await self._rules.rules()).freezing(repository)
        return freezing is not None and freezing.freezes(tag)

    async def _used(self, repository: str, reference: str, known: Manifest) -> None:
        """Say that somebody wants it, if that was not said lately. Where nothing can be written, it is served still."""
        try:
            if is_digest(reference):
                await self._metadata.touch(repository, known.digest)
                return
            tag = await self._metadata.tag(repository, reference)
            if tag is not None and tag.updated_at < datetime.now(UTC) - timedelta(seconds=_USED_SECONDS):
                await self._metadata.touch(repository, known.digest, [reference])
        except StorageError as exc:
            log.warning("that an image is in use was not noted", action="upstream.used", repository=repository,
                        reference=reference, error=exc.sentence)  # fmt: skip

    async def _take(self, repository: str, reference: str, manifest: NewManifest, body: bytes) -> None:
        """Keep it without what it refers to: that comes when it is asked for."""
        async with self._holds.using(repository, [manifest.digest]):
            await self._storage.put(manifest.digest, body)
            await self._metadata.put_manifest(repository, manifest, [] if is_digest(reference) else [reference])
        self._keep(manifest.digest, body)

    async def put(
        self,
        repository: str,
        reference: str,
        media_type: str,
        body: bytes,
        tags: Sequence[str] = (),
        *,
        actor: Actor,
        expected: str | None = None,
    ) -> NewManifest:
        """Keep a manifest that is pushed. Raises RegistryError DENIED for a cached repository."""
        check_pushable(self._upstreams, repository)
        return await super().put(repository, reference, media_type, body, tags, actor=actor, expected=expected)

    async def close(self) -> None:
        """Give up what is asked for."""
        await self._asking.close()


def _passing(manifest: NewManifest) -> Manifest:
    """What is told of a manifest that is not kept."""
    total = manifest.size + sum(link.size for link in manifest.links)
    return Manifest(manifest.digest, manifest.media_type, manifest.size, total, datetime.now(UTC))
