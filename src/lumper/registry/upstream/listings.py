"""Lists of cached repositories: upstream's own, a page at a time; what is here when upstream cannot be asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lumper.errors import RemoteError, RemoteNotFound
from lumper.logs import get_logger
from lumper.model.images.image import Referrer, fitting, is_digest
from lumper.registry.blobs import check_digest
from lumper.registry.listings import Listings, Page
from lumper.registry.port import Metadata
from lumper.registry.ttl_cache import TtlCache
from lumper.registry.upstream.upstreams import Upstream, Upstreams

_REMEMBERED = 256  # lists of referrers
_REMEMBERED_BYTES = 16 << 10  # of one; what anyone has put there may be a thousand times that
_MOST_REFERRERS = 1000  # of one manifest
_PAGE_BYTES = 4 << 20

log = get_logger(__name__)


class CachedListings(Listings):
    """The listings of all repositories, some of which are caches."""

    def __init__(self, metadata: Metadata, upstreams: Upstreams) -> None:
        super().__init__(metadata)
        self._upstreams = upstreams
        self._referrers = TtlCache[list[Referrer]](_REMEMBERED)

    async def tags(self, repository: str, last: str, size: int) -> Page:
        """The tags after `last`, as upstream has them. Raises RegistryError NAME_UNKNOWN."""
        upstream = self._serving(repository)
        if upstream is None or size == 0:
            return await super().tags(repository, last, size)
        try:
            names, more = await upstream.registry.tags_page(upstream.remote_name(repository), last, size)
        except RemoteError as exc:
            _told(repository, exc)
            return await super().tags(repository, last, size)
        return Page(names, more)

    async def referrers(
        self, repository: str, subject: str, artifact_types: Sequence[str], last: str, size: int
    ) -> tuple[list[Referrer], bool]:
        """The referrers of `subject`, as upstream has them, and whether more follow. Raises RegistryError."""
        upstream = self._serving(repository)
        if upstream is None:
            return await super().referrers(repository, subject, artifact_types, last, size)
        check_digest(subject)
        try:
            known = await self._known(upstream, repository, subject)
        except RemoteError as exc:
            _told(repository, exc)
            return await super().referrers(repository, subject, artifact_types, last, size)
        found = [one for one in known if one.digest > last]
        if artifact_types:
            found = [one for one in found if one.artifact_type in artifact_types]
        count = fitting(map(_weight, found[:size]), _PAGE_BYTES)
        return found[:count], 0 < count < len(found)

    def _serving(self, repository: str) -> Upstream | None:
        upstream = self._upstreams.of(repository)
        return upstream if upstream is not None and upstream.serves(repository) else None

    async def _known(self, upstream: Upstream, repository: str, subject: str) -> list[Referrer]:
        key = (repository, subject)
        if (known := self._referrers.get(key)) is not None:
            return known
        told = await upstream.registry.referrers(upstream.remote_name(repository), subject)
        found = [_referrer(one) for one in told[:_MOST_REFERRERS] if is_digest(str(one.get("digest")))]
        found.sort(key=lambda one: one.digest)
        if sum(map(_weight, found)) <= _REMEMBERED_BYTES:
            self._referrers.keep(key, found, upstream.ttl)
        return found


def _referrer(descriptor: dict[str, Any]) -> Referrer:
    size, annotations = descriptor.get("size"), descriptor.get("annotations")
    return Referrer(
        str(descriptor["digest"]),
        str(descriptor.get("mediaType") or "")[:255],
        size if isinstance(size, int) else 0,
        str(descriptor.get("artifactType") or "")[:255],
        {str(k): str(v) for k, v in annotations.items()} if isinstance(annotations, dict) else {},
    )


def _weight(referrer: Referrer) -> int:
    """About how many bytes it takes."""
    return 300 + sum(len(name) + len(value) for name, value in referrer.annotations.items())


def _told(repository: str, exc: RemoteError) -> None:
    if not isinstance(exc, RemoteNotFound):
        log.warning(
            "upstream cannot be asked: what is here is listed",
            action="upstream.list",
            repository=repository,
            error=exc.message,
        )
