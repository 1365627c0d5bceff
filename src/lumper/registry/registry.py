"""The registry as a whole: its parts over one storage and one set of metadata."""

from __future__ import annotations

from lumper.registry.blobs import Blobs
from lumper.registry.gc import Collector, Observe, Policy, unobserved
from lumper.registry.holds import Holds
from lumper.registry.manifests import Manifests
from lumper.registry.port import Metadata, Storage
from lumper.registry.tagging import Tagging
from lumper.registry.tags import Listings
from lumper.registry.verify import Verifier


class Registry:
    """Everything behind `/v2/`, and its care."""

    def __init__(
        self, storage: Storage, metadata: Metadata, policy: Policy | None = None, collected: Observe = unobserved
    ) -> None:
        holds = Holds()
        self.metadata = metadata
        self.blobs = Blobs(storage, metadata, holds)
        self.manifests = Manifests(storage, metadata, holds)
        self.tagging = Tagging(metadata, holds)
        self.listings = Listings(metadata)
        policy = policy or Policy()
        self.collector = Collector(storage, metadata, holds, policy, collected)
        self.verifier = Verifier(storage, metadata, policy.grace)
