"""Signatures and attestations in the registry, beside the images that they are about."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from json import loads
from typing import Any

from lumper.errors import RegistryError
from lumper.model.activity import SERVER
from lumper.model.image import IN_TOTO, PREDICATE, SIGNATURE_TYPE, Manifest, Referrer
from lumper.registry.attest.forms import (
    EMPTY_CONFIG,
    Blob,
    artifact,
    envelope,
    opened,
    signature,
    signs,
    statement,
    tag_beside,
)
from lumper.registry.attest.port import Signer
from lumper.registry.inspect.artifact_types import in_words
from lumper.registry.manifest_format import OCI_MANIFEST
from lumper.registry.registry import Registry

MOST_BYTES = 64 << 20  # of one attestation
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
        if any(one.ours for one in await self._signatures(repository, subject)):
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
        sealed = envelope(statement(name, subject.digest, predicate_type, predicate), self._signer)
        body = artifact([sealed], IN_TOTO, subject, {PREDICATE: predicate_type})
        await self._push(repository, [sealed], body, "")

    async def gather(self, repository: str, subject: Manifest) -> None:
        """Put all that is told here of an image under the tag where cosign looks for it. Raises LumperError."""
        sealed = []
        for referrer in await self._referrers(repository, subject.digest, IN_TOTO):
            blob = await self._first(repository, referrer)
            if blob is not None and await asyncio.to_thread(self._told_by_us, blob.content) is not None:
                sealed.append(blob)
        if sealed:
            body = artifact(sealed, IN_TOTO, None)
            await self._push(repository, sealed, body, tag_beside(subject.digest, "att"))

    async def beside(self, repository: str, subject: Manifest) -> list[Beside]:
        """What lies beside an image. Raises LumperError."""
        found = await self._signatures(repository, subject)
        for referrer in await self._referrers(repository, subject.digest, IN_TOTO):
            blob = await self._first(repository, referrer)
            ours = blob is not None and await asyncio.to_thread(self._told_by_us, blob.content) is not None
            size = len(blob.content) if blob else 0
            found.append(Beside(referrer.digest, referrer.annotations.get(PREDICATE, ""), ours, size))
        others, _ = await self._registry.metadata.referrers(repository, subject.digest)
        for one in others:
            if one.artifact_type not in (SIGNATURE_TYPE, IN_TOTO):
                kind = in_words(one.artifact_type, one.annotations) or one.artifact_type or one.media_type
                found.append(Beside(one.digest, kind, ours=False, size=one.size))
        return found

    async def told(self, repository: str, digest: str, predicate_type: str) -> dict[str, Any] | None:
        """The statement of this kind that we made of an image, if there is one. Raises LumperError."""
        async for referrer in self._all_referrers(repository, digest, IN_TOTO):
            if referrer.annotations.get(PREDICATE) == predicate_type:
                blob = await self._first(repository, referrer)
                if blob is not None and (found := await asyncio.to_thread(self._told_by_us, blob.content)):
                    return found
        return None

    async def _signatures(self, repository: str, subject: Manifest) -> list[Beside]:
        found = []
        for referrer in await self._referrers(repository, subject.digest, SIGNATURE_TYPE):
            blob = await self._first(repository, referrer)
            ours = blob is not None and signs(blob, subject.digest, self._signer)
            found.append(Beside(referrer.digest, "signature", ours, len(blob.content) if blob else 0))
        return found

    def _told_by_us(self, content: bytes) -> dict[str, Any] | None:
        """The statement, if it is signed by us. For a thread: it may have megabytes."""
        found = opened(content)
        return found[0] if found is not None and self._signer.verify(found[1], found[2]) else None

    async def _referrers(self, repository: str, digest: str, artifact_type: str) -> list[Referrer]:
        found, _ = await self._registry.metadata.referrers(repository, digest, artifact_types=[artifact_type])
        return found

    async def _all_referrers(self, repository: str, digest: str, artifact_type: str) -> AsyncIterator[Referrer]:
        """Also beyond the first page: others may tell something of an image every day."""
        last, more, types = "", True, [artifact_type]
        while more:
            page, more = await self._registry.metadata.referrers(repository, digest, artifact_types=types, last=last)
            for referrer in page:
                yield referrer
                last = referrer.digest

    async def _first(self, repository: str, referrer: Referrer) -> Blob | None:
        """The first layer of a referrer, if it is there and not too large for one that is made here."""
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
        if blob.size > MOST_BYTES:
            return None
        content = b"".join([chunk async for chunk in self._registry.blobs.read(blob, 0, blob.size)])
        annotations = layers[0].get("annotations")
        return Blob(str(layers[0].get("mediaType")), content, annotations if isinstance(annotations, dict) else {})

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
