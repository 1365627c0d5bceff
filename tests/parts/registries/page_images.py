"""Images put into a registry from within, with a configuration as engines write it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from lumper.model.images.activity import Actor
from lumper.registry.registry import Registry

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
BY = Actor("mara", "user", "192.0.2.7")


class Put:
    """Puts blobs and manifests into one repository."""

    def __init__(self, registry: Registry, storage: Any, repository: str) -> None:
        self._registry = registry
        self._storage = storage
        self.repository = repository

    async def blob(self, data: bytes, media_type: str) -> dict[str, Any]:
        """The descriptor of a blob that is there from now on."""
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        await self._storage.put(digest, data)
        await self._registry.metadata.link_blob(self.repository, digest, len(data))
        return {"mediaType": media_type, "digest": digest, "size": len(data)}

    async def manifest(self, document: Mapping[str, Any], tags: Sequence[str] = (), kind: str = MANIFEST) -> str:
        """The digest of a manifest that is there from now on, under these tags."""
        body = json.dumps({"schemaVersion": 2, "mediaType": kind, **document}).encode()
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        await self._registry.manifests.put(self.repository, digest, kind, body, tags, actor=BY)
        return digest

    async def image(self, *tags: str, layer: bytes = b"layer", config: object = None, **more: Any) -> str:
        """An image of one layer; its configuration is `config`, or one of a small program."""
        told = config if config is not None else program()
        data = told if isinstance(told, bytes) else json.dumps(told).encode()
        layers = [await self.blob(layer, "application/vnd.oci.image.layer.v1.tar")]
        return await self.manifest({"config": await self.blob(data, CONFIG), "layers": layers, **more}, tags)

    async def referrer(self, subject: str, artifact_type: str, annotations: Mapping[str, str]) -> str:
        """An artifact that says something of a manifest."""
        empty = await self.blob(b"{}", "application/vnd.oci.empty.v1+json")
        about = {"mediaType": MANIFEST, "digest": subject, "size": 100}
        told = {"artifactType": artifact_type, "subject": about, "annotations": dict(annotations)}
        return await self.manifest({"config": empty, "layers": [empty], **told})


def program(words: str = "", **config: Any) -> dict[str, Any]:
    """The configuration of an image with one layer and one line that made none; `words` are in everything."""
    return {
        "os": "linux",
        "architecture": "arm64",
        "created": f"2026-05-01T10:00:00Z{words}",
        "config": {
            "Entrypoint": ["/srv/shop", f"--quiet{words}"],
            "Env": [f"MODE=production{words}"],
            "Labels": {f"title{words}": f"shop{words}"},
            "User": f"1000{words}",
            **config,
        },
        "history": [
            {"created_by": f"/bin/sh -c #(nop) COPY shop /srv{words}"},
            {"created_by": f"ENV MODE=production{words}", "empty_layer": True},
        ],
    }
