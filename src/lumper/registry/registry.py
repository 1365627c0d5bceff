"""The registry as a whole: its parts over one storage and one set of metadata."""

from __future__ import annotations

from dataclasses import replace

from lumper.registry.blobs import Blobs
from lumper.registry.gc.collector import Collector, Observe, Policy, unobserved
from lumper.registry.gc.orphans import Orphans
from lumper.registry.holds import Holds
from lumper.registry.inspect.image import Inspector
from lumper.registry.listings import Listings
from lumper.registry.manifests import Manifests
from lumper.registry.names import Names
from lumper.registry.needs import Needs
from lumper.registry.port import Alone, Metadata, Storage
from lumper.registry.quota import Quotas
from lumper.registry.rebuild import Rebuilder
from lumper.registry.retention.pulls import Pulls
from lumper.registry.retention.run import Retention
from lumper.registry.tags import Tags
from lumper.registry.upstream.blobs import CachedBlobs
from lumper.registry.upstream.listings import CachedListings
from lumper.registry.upstream.manifests import CachedManifests
from lumper.registry.upstream.upstreams import Upstreams
from lumper.registry.verify import Verifier
from lumper.system.named_locks import LocalLocks


class Registry:
    """Everything behind `/v2/`, and its care."""

    def __init__(
        self,
        storage: Storage,
        metadata: Metadata,
        policy: Policy | None = None,
        collected: Observe = unobserved,
        *,
        shared: Alone | None = None,
        upstreams: Upstreams | None = None,
    ) -> None:
        """`shared` is given where other processes have the same storage and metadata: how one has a name for itself."""
        self.metadata = metadata
        self._storage = storage
        policy, alone = policy or Policy(), shared or LocalLocks()
        holds = Holds(Needs(metadata, policy.grace.total_seconds()) if shared else None)
        self.upstreams = upstreams
        quotas = self.quotas = Quotas(metadata)
        self.pulls = Pulls(metadata)
        self.retention = Retention(metadata, self.pulls)
        self.names = Names(storage, metadata)
        self.rebuilder = Rebuilder(storage, metadata, holds)
        self.tags = Tags(metadata, holds)
        if upstreams is None:
            self.listings = Listings(metadata)
            self.blobs = Blobs(storage, metadata, holds, quotas, alone)
            self.manifests = Manifests(storage, metadata, holds, self.names, quotas, self.pulls)
        else:
            self.listings = CachedListings(metadata, upstreams)
            self.blobs = CachedBlobs(storage, metadata, holds, quotas, alone, upstreams)
            self.manifests = CachedManifests(storage, metadata, holds, self.names, quotas, self.pulls, upstreams)
            policy = replace(policy, unused_after=upstreams.unused_after)
        self.verifier = Verifier(
            storage, metadata, self.names, policy.grace, holds, self.manifests.doubt, self._is_cache
        )
        self.inspector = Inspector(storage, metadata, self.manifests)
        orphans = Orphans(storage, metadata, self.rebuilder)
        self.collector = Collector(storage, metadata, holds, policy, self.retention, orphans, collected, alone=alone)

    def _is_cache(self, repository: str) -> bool:
        return self.upstreams is not None and self.upstreams.of(repository) is not None

    async def answers(self) -> None:
        """Ask the storage for no more than its id. Raises StorageError if it is away, or another one."""
        await self._storage.identity()

    async def close(self) -> None:
        """End what is under way with other registries, and write what was pulled. Raises StorageError.

        The storage and the metadata are their owners' to close.
        """
        await self.manifests.close()
        await self.blobs.close()
        if self.upstreams is not None:
            await self.upstreams.close()
        await self.pulls.flush()
