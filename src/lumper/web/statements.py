"""What this Lumper has told of an image: its packages and its provenance; for the API and the pages."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from lumper.errors import NotFound
from lumper.line.history import History
from lumper.model.images.image import LATEST, Manifest
from lumper.registry.attest.provenance import PROVENANCE
from lumper.registry.attest.store import Attestations
from lumper.registry.catalog.images import ImageHistory
from lumper.registry.contents.packages import Package
from lumper.registry.contents.spdx import SPDX, listed
from lumper.registry.reference import Reference


@dataclass(frozen=True)
class Packages:
    """What is in an image. `comment` says what could not be read; `document` is the whole SPDX document."""

    repository: str
    digest: str
    packages: list[Package] = field(default_factory=list)
    comment: str = ""
    document: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Provenance:
    """Where an image comes from, as a SLSA v1 predicate."""

    repository: str
    digest: str
    predicate: dict[str, Any]


class Statements:
    """Finds what was told."""

    def __init__(self, history: History, attestations: Attestations) -> None:
        self._history = history
        self._attestations = attestations

    async def packages(self, reference: Reference) -> Packages:
        """What is in the image. Raises NotFound."""
        digest = (await manifest_of(self._history.images, reference)).digest
        document = await self._told(reference.repository, digest, SPDX, "what is in")
        found = await asyncio.to_thread(listed, document)
        comment = str((document.get("creationInfo") or {}).get("comment", ""))
        return Packages(reference.repository, digest, found, comment, document)

    async def provenance(self, reference: Reference) -> Provenance:
        """Where the image comes from. Raises NotFound."""
        digest = (await manifest_of(self._history.images, reference)).digest
        told = await self._told(reference.repository, digest, PROVENANCE, "where this comes from:")
        return Provenance(reference.repository, digest, told)

    async def _told(self, repository: str, digest: str, kind: str, words: str) -> dict[str, Any]:
        statement = await self._attestations.told(repository, digest, kind)
        if statement is None:
            hint = "Images that were built here are read in the background, one after the other; pushed ones are not."
            raise NotFound(f"This Lumper has not told {words} {repository}@{digest}.", hint=hint)
        predicate = statement.get("predicate")
        return predicate if isinstance(predicate, dict) else {}


def having(packages: Iterable[Package], text: str) -> list[Package]:
    """Those whose name, version, kind or path has this text in it, in any case."""
    wanted = text.strip().lower()
    return [one for one in packages if wanted in f"{one.kind} {one.name} {one.version} /{one.source}".lower()]


async def manifest_of(images: ImageHistory, reference: Reference) -> Manifest:
    """The manifest that a tag or digest names, that of `latest` if neither is given. Raises NotFound."""
    manifest = await images.resolve(reference.repository, reference.digest or reference.tag or LATEST)
    if manifest is None:
        hint = f"`lumper images {reference.repository}` shows what is there."
        wanted = reference if reference.digest else f"{reference.repository}:{reference.tag or LATEST}"
        raise NotFound(f"There is no image {wanted}.", hint=hint)
    return manifest
