"""Signatures and attestations in the registry, beside the images that they are about."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from json import loads
from typing import Any

from lumper.errors import ArchiveError, RegistryError
from lumper.model.images.activity import SERVER
from lumper.model.images.image import IN_TOTO, PREDICATE, SIGNATURE_TYPE, STATEMENTS, Manifest, Referrer
from lumper.registry.attest.forms import (
    EMPTY_CONFIG,
    Blob,
    artifact,
    envelope,
    is_about,
    opened,
    sealed,
    signature,
    signs,
    statement,
    tag_beside,
)
from lumper.registry.attest.port import Signer
from lumper.registry.inspect.artifact_types import in_words
from lumper.registry.manifest_format import OCI_MANIFEST
from lumper.registry.port import StoredBlob
from lumper.registry.registry import Registry

MOST_BYTES = 64 << 20  # of one attestation
MOST_LISTED = 1000  # of what lies beside an image
_MOST_LOOKED_AT = 10_000  # referrers, for one of ours among them
_MOST_SIGNATURE = 64 << 10  # bytes of what is signed
_PAGE = 100
_OWNER = "the registry itself"


@dataclass(frozen=True)
class Beside:
    """Something that lies beside an image; `ours`: we signed it.

    `kind` is `signature`, the type of a predicate, or what other referrers are called, such as `SBOM (SPDX)`.
    """

    digest: str
    kind: str
    ours: bool
    size: int


@dataclass(frozen=True)
class _Layer:
    """A layer as its manifest has it, and as it lies here."""

    digest: str
    size: int
    annotations: Mapping[str, str]
    blob: StoredBlob


@dataclass(frozen=True)
class _Told:
    """A statement of ours, and the bytes of its envelope."""

    envelope: bytes
    statement: dict[str, Any]


class Attestations:
    """Makes them and finds them. `host` is HOST:PORT as people pull; the signer is opened when it is first needed."""

    def __init__(self, registry: Registry, open_signer: Callable[[], Signer], host: str) -> None:
        self._registry = registry
        self._open_signer = open_signer
        self._host = host

    @cached_property
    def _signer(self) -> Signer:
        return self._open_signer()

    @property
    def public_key(self) -> str:
        """With which everything is verified that is signed here, as PEM."""
        return self._signer.public_key

    @property
    def key_id(self) -> str:
        """The digest of the public key."""
        return self._signer.id

    async def sign(self, repository: str, subject: Manifest) -> None:
        """Sign an image, once: both as a tag that cosign looks for, and as a referrer. Raises LumperError."""
        async for one in self._signatures(repository, subject, _MOST_LOOKED_AT):
            if one.ours:
                return
        signed = signature(f"{self._host}/{repository}", subject.digest, self._signer)
        body = artifact([signed], SIGNATURE_TYPE, subject)
        await self._push(repository, [signed], body, tag_beside(subject.digest, "sig"))

    async def attest(
        self, repository: str, subject: Manifest, predicate_type: str, predicate: Mapping[str, Any]
    ) -> None:
        """Tell something of an image, if nothing of this kind was told here. Raises LumperError."""
        if await self.told(repository, subject.digest, predicate_type) is not None:
            return
        name = f"{self._host}/{repository}"
        made = envelope(statement(name, subject.digest, predicate_type, predicate), self._signer)
        if len(made.content) > MOST_BYTES:  # it would never be found again
            raise ArchiveError(f"What is to be told of {subject.digest} has more than {MOST_BYTES >> 20} MiB.")
        body = artifact([made], IN_TOTO, subject, {PREDICATE: predicate_type})
        await self._push(repository, [made], body, "")

    async def gather(self, repository: str, subject: Manifest) -> None:
        """Put all that is told here of an image under the tag where cosign looks for it. Raises LumperError."""
        layers, others = {}, set[str]()
        async for referrer in self._referrers(repository, subject.digest, IN_TOTO, _MOST_LOOKED_AT):
            blob, kind = await self._layer(repository, referrer), referrer.annotations.get(PREDICATE, "")
            if blob is not None and (ours := await self._ours(blob, subject.digest, kind, others)) is not None:
                layers[blob.digest] = sealed(ours.envelope, kind)
        if layers:
            body = artifact([*layers.values()], IN_TOTO, None)
            await self._push(repository, [], body, tag_beside(subject.digest, "att"))

    async def beside(self, repository: str, subject: Manifest) -> list[Beside]:
        """What lies beside an image: signatures, statements, and all else, at most MOST_LISTED of each.

        Raises LumperError.
        """
        found = [one async for one in self._signatures(repository, subject, MOST_LISTED)]
        others = set[str]()
        async for referrer in self._referrers(repository, subject.digest, IN_TOTO, MOST_LISTED):
            blob, kind = await self._layer(repository, referrer), referrer.annotations.get(PREDICATE, "")
            ours = await self._ours(blob, subject.digest, kind, others) if blob else None
            found.append(Beside(referrer.digest, kind, ours is not None, blob.size if blob else 0))
        async for one in self._referrers(repository, subject.digest, "", MOST_LISTED):
            if one.artifact_type not in STATEMENTS:
                kind = in_words(one.artifact_type, one.annotations) or one.artifact_type or one.media_type
                found.append(Beside(one.digest, kind, ours=False, size=one.size))
        return found

    async def told(self, repository: str, digest: str, predicate_type: str) -> dict[str, Any] | None:
        """The statement of this kind that we made of an image, if there is one. Raises LumperError."""
        others = set[str]()
        async for referrer in self._referrers(repository, digest, IN_TOTO, _MOST_LOOKED_AT):
            if referrer.annotations.get(PREDICATE) == predicate_type:
                blob = await self._layer(repository, referrer)
                if blob is not None and (ours := await self._ours(blob, digest, predicate_type, others)) is not None:
                    return ours.statement
        return None

    async def _ours(self, layer: _Layer, digest: str, predicate_type: str, others: set[str]) -> _Told | None:
        """The statement in this layer, if it is signed by us, of this type, and about this image.

        `others` gathers the layers that are none of ours: many manifests may have the same.
        """
        if layer.digest in others or layer.size > MOST_BYTES:
            return None
        content = await self._content(layer)
        found = await asyncio.to_thread(opened, content, self._signer)  # it may have megabytes
        if found is None or not is_about(found, digest):
            others.add(layer.digest)
            return None
        return _Told(content, found) if found["predicateType"] == predicate_type else None

    async def _signatures(self, repository: str, subject: Manifest, most: int) -> AsyncIterator[Beside]:
        async for referrer in self._referrers(repository, subject.digest, SIGNATURE_TYPE, most):
            layer, ours = await self._layer(repository, referrer), False
            if layer is not None and layer.size <= _MOST_SIGNATURE:
                blob = Blob("", await self._content(layer), layer.annotations)
                ours = signs(blob, subject.digest, self._signer)
            yield Beside(referrer.digest, "signature", ours, layer.size if layer else 0)

    async def _referrers(self, repository: str, digest: str, artifact_type: str, most: int) -> AsyncIterator[Referrer]:
        """At most so many of this type, "" for any, page by page: others may tell something of an image every day."""
        last, more, types = "", True, [artifact_type] if artifact_type else []
        while more and most > 0:
            page, more = await self._registry.metadata.referrers(
                repository, digest, artifact_types=types, last=last, limit=min(most, _PAGE)
            )
            most -= len(page)
            for referrer in page:
                yield referrer
                last = referrer.digest

    async def _layer(self, repository: str, referrer: Referrer) -> _Layer | None:
        """The first layer of a referrer, if it is there."""
        manifest = await self._registry.metadata.manifest(repository, referrer.digest)
        if manifest is None:
            return None
        layers: list[dict[str, Any]] = loads(await self._registry.manifests.content(manifest)).get("layers") or []
        if not layers:
            return None
        try:
            blob = await self._registry.blobs.stat(repository, layers[0]["digest"])
        except RegistryError:  # it was deleted, or never has to be here: a layer that lies elsewhere
            return None
        annotations = layers[0].get("annotations")
        return _Layer(blob.digest, blob.size, annotations if isinstance(annotations, dict) else {}, blob)

    async def _content(self, layer: _Layer) -> bytes:
        return b"".join([chunk async for chunk in self._registry.blobs.read(layer.blob, 0, layer.size)])

    async def _has(self, repository: str, blob: Blob) -> bool:
        try:
            await self._registry.blobs.stat(repository, blob.digest)
        except RegistryError:
            return False
        return True

    async def _push(self, repository: str, blobs: Sequence[Blob], manifest: bytes, tag: str) -> None:
        config = Blob("", EMPTY_CONFIG)
        for blob in blobs if await self._has(repository, config) else (config, *blobs):
            session = await self._registry.blobs.begin(repository, _OWNER)
            await self._registry.blobs.finish(session, blob.digest, 0, blob.content)
        reference = tag or Blob("", manifest).digest
        await self._registry.manifests.put(repository, reference, OCI_MANIFEST, manifest, actor=SERVER)
