"""What an image holds, for people to look at: read from its manifest and its configuration, which anyone may have sent.

Source: OCI image-spec 1.1, manifest.md, image-index.md, config.md. Whatever is not as it should be is left out; texts
are cut and have only characters that can be shown. Nothing is fetched from an upstream, and nothing counts as a pull.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lumper.model.images.image import Manifest, is_digest
from lumper.registry.manifest_format import names_manifest, parsed, platform_name
from lumper.registry.manifests import Manifests
from lumper.registry.port import BlobMetadata, Storage

_CONFIGS = ("application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json")
_MOST_BYTES = 1 << 20  # of a configuration
_MOST_TEXT = 4000  # characters
_MOST_ENTRIES = 500
_TITLE = "org.opencontainers.image.title"  # of a file that is a layer: ORAS
_ATTESTATION = "attestation-manifest"  # BuildKit's, in an index: what it says of the image beside it


@dataclass(frozen=True)
class Platform:
    """One manifest of an index. `about` is the digest of the image that it tells of, if it is an attestation."""

    digest: str
    name: str
    size: int
    about: str = ""


@dataclass(frozen=True)
class Step:
    """What a layer, or a line of the recipe that made none (`digest` is ""), does. `size` in bytes, compressed."""

    command: str
    digest: str = ""
    size: int = 0
    media_type: str = ""


@dataclass(frozen=True)
class Settings:
    """How a container of the image starts, and what is said of it."""

    platform: str = ""
    created: str = ""
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    user: str = ""
    folder: str = ""
    environment: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Inspection:
    """All of it. `settings` is None where there is no configuration of an image, or none that can be read."""

    artifact_type: str = ""
    subject: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)
    platforms: tuple[Platform, ...] = ()
    steps: tuple[Step, ...] = ()
    settings: Settings | None = None


class Inspector:
    """Reads manifests and configurations."""

    def __init__(self, storage: Storage, metadata: BlobMetadata, manifests: Manifests) -> None:
        self._storage = storage
        self._metadata = metadata
        self._manifests = manifests

    async def inspect(self, repository: str, manifest: Manifest) -> Inspection:
        """What the manifest holds. Raises StorageError."""
        body = await self._manifests.content(manifest)
        document = await asyncio.to_thread(parsed, body)
        config = await self._config(repository, document.get("config"))
        return await asyncio.to_thread(inspection, document, config)

    async def _config(self, repository: str, descriptor: object) -> dict[str, Any]:
        told = descriptor if isinstance(descriptor, dict) else {}
        digest = _text(told.get("digest"))
        if not is_digest(digest) or told.get("mediaType") not in _CONFIGS:
            return {}
        blob = await self._storage.stat(digest) if await self._metadata.has_blob(repository, digest) else None
        if blob is None or blob.size > _MOST_BYTES:
            return {}
        return await asyncio.to_thread(parsed, b"".join([chunk async for chunk in self._storage.read(digest)]))


def inspection(document: Mapping[str, Any], config: Mapping[str, Any]) -> Inspection:
    """What a manifest and the configuration of its image, {} for none, say."""
    layers = [layer for layer in _list(document.get("layers")) if isinstance(layer, dict)]
    entries = _list(document.get("manifests"))
    return Inspection(
        artifact_type=_artifact_type(document),
        subject=_text(_object(document.get("subject")).get("digest")),
        annotations=shown_texts(document.get("annotations")),
        platforms=tuple(_platform(one) for one in entries if isinstance(one, dict) and names_manifest(one)),
        steps=tuple(_steps(layers, config)),
        settings=_settings(config) if config else None,
    )


def _artifact_type(document: Mapping[str, Any]) -> str:
    config_type = _object(document.get("config")).get("mediaType")
    return _text(document.get("artifactType")) or ("" if config_type in _CONFIGS else _text(config_type))


def _platform(descriptor: Mapping[str, Any]) -> Platform:
    annotations = _object(descriptor.get("annotations"))
    about = annotations.get("vnd.docker.reference.type") == _ATTESTATION
    return Platform(
        _text(descriptor.get("digest")),
        "attestation" if about else shown(platform_name(descriptor.get("platform"))),
        _number(descriptor.get("size")),
        _text(annotations.get("vnd.docker.reference.digest")) if about else "",
    )


def _steps(layers: list[dict[str, Any]], config: Mapping[str, Any]) -> list[Step]:
    """Layers with the lines of the recipe; without these if their number is another one than that of the layers."""
    history = [line for line in _list(config.get("history")) if isinstance(line, dict)]
    if sum(not line.get("empty_layer") for line in history) != len(layers):
        return [_layer(layer, _text(_object(layer.get("annotations")).get(_TITLE))) for layer in layers]
    following = iter(layers)
    lines = [(line, _command(_text(line.get("created_by")))) for line in history]
    return [Step(said) if line.get("empty_layer") else _layer(next(following), said) for line, said in lines]


def _layer(layer: Mapping[str, Any], command: str) -> Step:
    return Step(command, _text(layer.get("digest")), _number(layer.get("size")), _text(layer.get("mediaType")))


def _command(text: str) -> str:
    """A line of the recipe, without what the engine's shell form adds to it."""
    return text.removeprefix("/bin/sh -c #(nop) ").removeprefix("/bin/sh -c ").strip()


def _settings(config: Mapping[str, Any]) -> Settings:
    running = _object(config.get("config"))
    return Settings(
        platform=shown(platform_name(config)),
        created=_text(config.get("created")),
        entrypoint=_texts(running.get("Entrypoint")),
        command=_texts(running.get("Cmd")),
        user=_text(running.get("User")),
        folder=_text(running.get("WorkingDir")),
        environment=_texts(running.get("Env")),
        ports=_texts(list(_object(running.get("ExposedPorts")))),
        volumes=_texts(list(_object(running.get("Volumes")))),
        labels=shown_texts(running.get("Labels")),
    )


def shown_texts(value: object) -> dict[str, str]:
    """A map of texts, as much of it as can be shown."""
    pairs = [(key, text) for key, text in _object(value).items() if isinstance(text, str)]
    return {shown(key): shown(text) for key, text in sorted(pairs)[:_MOST_ENTRIES]}


def shown(text: str) -> str:
    """The text, cut, with a mark for each character that cannot be seen or changes how others are read."""
    cut = text[:_MOST_TEXT] + ("…" if len(text) > _MOST_TEXT else "")
    return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in cut)


def _texts(value: object) -> tuple[str, ...]:
    return tuple(shown(text) for text in _list(value) if isinstance(text, str))


def _text(value: object) -> str:
    return shown(value) if isinstance(value, str) else ""


def _number(value: object) -> int:
    return value if isinstance(value, int) and 0 <= value < 1 << 62 else 0


def _list(value: object) -> list[Any]:
    return value[:_MOST_ENTRIES] if isinstance(value, list) else []


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
