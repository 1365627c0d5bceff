"""Reading a manifest: from bytes that anyone may have sent to what it refers to. Pure.

Source: OCI image-spec 1.1 (manifest.md, image-index.md), Docker "Image Manifest Version 2, Schema 2".
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

from lumper.errors import RegistryError
from lumper.model.images.image import Link, NewManifest, is_digest
from lumper.registry.errors import refuse

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
INDEXES = (OCI_INDEX, DOCKER_LIST)

_IMAGES = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
_INDEXES = frozenset({OCI_INDEX, DOCKER_LIST})
_LAYERS_ELSEWHERE = ("application/vnd.oci.image.layer.nondistributable", "application/vnd.docker.image.rootfs.foreign")
_MOST_BYTES = 1 << 62


def read_manifest(body: bytes, media_type: str, digest: str) -> NewManifest:
    """What the manifest says. `media_type` is the Content-Type it came with, "" for none.

    Raises RegistryError MANIFEST_INVALID. A document that is both an image and an index, or whose mediaType is not the
    Content-Type's, means different things to different readers and is refused (CVE-2021-41190).
    """
    document = _object(_parsed(body), "The manifest")
    told = document.get("mediaType", "")
    if told != "" and media_type not in ("", told):
        _refuse(f"The manifest's mediaType is {_shown(told)}, but it was sent as {_shown(media_type)}.")
    kind = media_type or (told if isinstance(told, str) else "")
    if document.get("schemaVersion") != 2 or isinstance(document["schemaVersion"], float):
        _refuse("schemaVersion is not 2; older manifests are not supported.")
    if kind in _IMAGES:
        links = _image_links(document)
    elif kind in _INDEXES:
        links = _index_links(document)
    else:
        _refuse(f"{_shown(kind)} is not a media type of a manifest.")
    subject = document.get("subject")
    annotations = _annotations(document.get("annotations"))
    return NewManifest(
        digest=digest,
        media_type=kind,
        size=len(body),
        links=tuple(links),
        subject=_link(subject, "subject").digest if subject is not None else "",
        artifact_type=_artifact_type(document),
        annotations=annotations if subject is not None else {},
    )


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_not_json)
    except (ValueError, RecursionError) as exc:
        raise refuse("MANIFEST_INVALID", "The manifest is not JSON in UTF-8.") from exc


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Two values of one name: which one counts depends on the reader."""
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a name appears twice")
    return made


def _not_json(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


def _image_links(document: dict[str, Any]) -> list[Link]:
    if "manifests" in document:
        _refuse("An image's manifest has no list of manifests.")
    links = [_link(document.get("config"), "config")]
    for number, layer in enumerate(_list(document.get("layers"), "layers")):
        media_type = _object(layer, f"layers[{number}]").get("mediaType")
        link = _link(layer, f"layers[{number}]")
        if not (isinstance(media_type, str) and media_type.startswith(_LAYERS_ELSEWHERE)):
            links.append(link)
    return links


def _index_links(document: dict[str, Any]) -> list[Link]:
    if "layers" in document or "config" in document:
        _refuse("An index has neither config nor layers.")
    entries = _list(document.get("manifests"), "manifests")
    return [_link(entry, f"manifests[{n}]", manifest=names_manifest(entry)) for n, entry in enumerate(entries)]


def names_manifest(entry: Any) -> bool:
    """Whether an index's entry is a manifest. BuildKit's caches are indexes of layers, unless `image-manifest=true`.

    Source: moby/buildkit, cache/remotecache/export.go; an entry may have any type: image-spec, image-index.md.
    """
    media_type = entry.get("mediaType") if isinstance(entry, dict) else None
    return not media_type or not isinstance(media_type, str) or media_type in _IMAGES | _INDEXES


def platform_name(value: object) -> str:
    """A platform as people write it; "" for what is none. Source: image-spec, image-index.md.

    >>> platform_name({"os": "linux", "architecture": "arm", "variant": "v7"})
    'linux/arm/v7'
    """
    parts = [value.get(key) for key in ("os", "architecture", "variant")] if isinstance(value, dict) else []
    return "/".join(part for part in parts if isinstance(part, str) and part)


def parsed(body: bytes) -> dict[str, Any]:
    """A JSON object that anyone may have sent; {} for anything else."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _link(value: Any, where: str, *, manifest: bool = False) -> Link:
    """A descriptor: image-spec, descriptor.md."""
    descriptor = _object(value, where)
    digest, size = descriptor.get("digest"), descriptor.get("size")
    if not isinstance(digest, str) or not is_digest(digest):
        _refuse(f"{where}.digest is not a digest.")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= _MOST_BYTES:
        _refuse(f"{where}.size is not a number of bytes.")
    return Link(digest, size, manifest)


def _artifact_type(document: dict[str, Any]) -> str:
    """artifactType, or else the config's media type: distribution-spec 1.1, "Listing Referrers"."""
    config = document.get("config")
    found = document.get("artifactType") or (config.get("mediaType") if isinstance(config, dict) else "") or ""
    if not isinstance(found, str) or len(found) > 255 or not found.isprintable():
        _refuse("artifactType is not a media type.")
    return found


def _annotations(value: Any) -> dict[str, str]:
    """image-spec, annotations.md: a map of strings to strings."""
    found = {} if value is None else _object(value, "annotations")
    if not all(isinstance(text, str) for text in found.values()):
        _refuse("An annotation is not a string.")
    return found


def _object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        _refuse(f"{where} is not an object.")
    return value


def _list(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        _refuse(f"{where} is not a list.")
    return value


def _shown(value: object) -> str:
    return ascii(value)[:120]


def _refuse(message: str) -> NoReturn:
    error: RegistryError = refuse("MANIFEST_INVALID", message)
    raise error
