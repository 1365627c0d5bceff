"""Images as files, for clients that push them."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

from parts.registries.live_registry import OCI_MANIFEST, digest_of


def layer_of(*files: tuple[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def oci_layout(folder: Path, *layers: bytes) -> str:
    """Write an image as an OCI layout; its digest. Source: OCI image-spec 1.1, image-layout.md."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def put(data: bytes, media_type: str, **more: Any) -> dict[str, Any]:
        digest = digest_of(data)
        (blobs / digest.partition(":")[2]).write_bytes(data)
        return {"mediaType": media_type, "digest": digest, "size": len(data), **more}

    diff_ids = [digest_of(layer) for layer in layers]
    config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids}}
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": put(json.dumps(config).encode(), "application/vnd.oci.image.config.v1+json"),
        "layers": [put(layer, "application/vnd.oci.image.layer.v1.tar") for layer in layers],
    }
    name = {"org.opencontainers.image.ref.name": "x"}
    entry = put(json.dumps(manifest).encode(), OCI_MANIFEST, annotations=name)
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return str(entry["digest"])


def docker_archive(name: str, *layers: bytes) -> bytes:
    """An image as `docker load` takes it. Source: Docker Image Specification v1.2, "Combined Image JSON"."""
    diff_ids = [digest_of(layer) for layer in layers]
    config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids}}
    paths = [f"{number}/layer.tar" for number in range(len(layers))]
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": paths}]
    return layer_of(
        ("config.json", json.dumps(config).encode()),
        *zip(paths, layers, strict=True),
        ("manifest.json", json.dumps(manifest).encode()),
    )
