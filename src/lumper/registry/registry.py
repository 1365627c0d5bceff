"""The registry as a whole: its three parts over one storage and one set of metadata."""

from __future__ import annotations

from lumper.registry.blobs import Blobs
from lumper.registry.manifests import Manifests
from lumper.registry.port import Metadata, Storage
from lumper.registry.tags import Listings


class Registry:
    """Everything behind `/v2/`."""

    def __init__(self, storage: Storage, metadata: Metadata) -> None:
        self.blobs = Blobs(storage, metadata)
        self.manifests = Manifests(storage, metadata)
        self.listings = Listings(metadata)
