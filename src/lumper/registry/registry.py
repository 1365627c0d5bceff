"""The registry as a whole: its parts over one storage and one set of metadata."""

from __future__ import annotations

from lumper.registry.alone import AloneHere
from lumper.registry.blobs import Blobs
from lumper.registry.gc import Collector, Observe, Policy, unobserved
from lumper.registry.holds import Holds
from lumper.registry.manifests import Manifests
from lumper.registry.port import Alone, Metadata, Storage
from lumper.registry.pulls import Pulls
from lumper.registry.quota import Quotas
from lumper.registry.retention import Retention
from lumper.registry.tagging import Tagging
from lumper.registry.tags import Listings
from lumper.registry.told import Told
from lumper.registry.verify import Verifier


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
    ) -> None:
        """`shared` is given where other processes have the same storage and metadata: how one has a name for itself."""
        self.metadata = metadata
        policy, alone = policy or Policy(), shared or AloneHere()
        holds = Holds(Told(metadata, policy.grace.total_seconds()) if shared else None)
        quotas = Quotas(metadata)
        self.pulls = Pulls(metadata)
        self.retention = Retention(metadata, self.pulls)
        self.blobs = Blobs(storage, metadata, holds, quotas, alone)
        self.manifests = Manifests(storage, metadata, holds, quotas, self.pulls)
        self.tagging = Tagging(metadata, holds)
        self.listings = Listings(metadata)
        self.collector = Collector(storage, metadata, holds, policy, self.retention, collected, alone=alone)
        self.verifier = Verifier(storage, metadata, policy.grace)
