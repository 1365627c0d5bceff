"""What an image is made of, read from its manifest and config."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lumper.errors import RegistryError
from lumper.model.images.image import Manifest
from lumper.registry.manifest_format import parsed, platform_name
from lumper.registry.registry import Registry

_MOST_CONFIG = 4 << 20
_MOST_CHILDREN = 64
_NO_SYSTEM = "unknown"  # of BuildKit's attestations, which look like images: moby/buildkit, docs/attestations


@dataclass(frozen=True)
class Layer:
    """A layer as it lies in the registry; `size` in bytes, compressed."""

    digest: str
    size: int
    media_type: str


@dataclass(frozen=True)
class Platform:
    """What an image is for one platform, such as linux/amd64; `digest` is that of its own manifest."""

    platform: str
    digest: str
    size: int
    layers: tuple[Layer, ...]
    diff_ids: tuple[str, ...]


async def platforms_of(registry: Registry, repository: str, manifest: Manifest) -> list[Platform]:
    """The platforms of an image or index; what is no image, an attestation, is left out. Raises StorageError."""
    document = await _document(registry, manifest)
    if "manifests" not in document:
        return [found] if (found := await _platform(registry, repository, manifest, document)) else []
    platforms = []
    for child in document["manifests"][:_MOST_CHILDREN]:
        known = await registry.metadata.manifest(repository, child["digest"])
        if known is not None:
            found = await _platform(registry, repository, known, await _document(registry, known))
            platforms += [found] if found else []
    return platforms


async def config_of(registry: Registry, repository: str, digest: str) -> dict[str, Any]:
    """The configuration of one platform's manifest; {} if there is none that can be read. Raises StorageError."""
    manifest = await registry.metadata.manifest(repository, digest)
    if manifest is None:
        return {}
    return await _config(registry, repository, (await _document(registry, manifest)).get("config"))


async def _platform(
    registry: Registry, repository: str, manifest: Manifest, document: dict[str, Any]
) -> Platform | None:
    config = await _config(registry, repository, document.get("config"))
    if not isinstance(config.get("os"), str) or config["os"] == _NO_SYSTEM:
        return None
    rootfs = config.get("rootfs")
    diff_ids = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    return Platform(
        platform_name(config),
        manifest.digest,
        manifest.total,
        tuple(_layers(document.get("layers") or ())),
        tuple(map(str, diff_ids)) if isinstance(diff_ids, list) else (),
    )


def _layers(layers: Sequence[dict[str, Any]]) -> list[Layer]:
    return [Layer(one["digest"], one["size"], str(one.get("mediaType", ""))) for one in layers]


async def _document(registry: Registry, manifest: Manifest) -> dict[str, Any]:
    return parsed(await registry.manifests.content(manifest))


async def _config(registry: Registry, repository: str, descriptor: dict[str, Any] | None) -> dict[str, Any]:
    if descriptor is None:
        return {}
    try:
        blob = await registry.blobs.stat(repository, descriptor["digest"])
    except RegistryError:
        return {}
    if blob.size > _MOST_CONFIG:
        return {}
    return parsed(b"".join([chunk async for chunk in registry.blobs.read(blob, 0, blob.size)]))
