"""What this Lumper has told of an image: its packages and its provenance; for pages and the API."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from aiohttp import web

from lumper.errors import NotFound
from lumper.history.store import History
from lumper.model.people import GRANTED, PEOPLE
from lumper.model.rights import Action
from lumper.registry.attest.provenance import PROVENANCE
from lumper.registry.attest.store import Attestations
from lumper.registry.contents.packages import Package
from lumper.registry.contents.spdx import SPDX, listed
from lumper.registry.tags import Reference, parse_reference
from lumper.web.api.answers import answer
from lumper.web.api.guard import Guard, identity_of
from lumper.web.api.openapi import describe


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

    async def digest(self, reference: Reference) -> str:
        """The image that a tag or digest names. Raises NotFound."""
        repository, digest, images = reference.repository, reference.digest, self._history.images
        if not digest:
            tag = await images.tag(repository, reference.tag or "latest")
            digest = tag.digest if tag else ""
        if not digest or await images.manifest(repository, digest) is None:
            raise NotFound(f"There is no image {reference}.", hint=f"`lumper images {repository}` shows what is there.")
        return digest

    async def packages(self, reference: Reference) -> Packages:
        """What is in the image. Raises NotFound."""
        digest = await self.digest(reference)
        document = await self._told(reference.repository, digest, SPDX, "what is in")
        found = await asyncio.to_thread(listed, document)
        comment = str((document.get("creationInfo") or {}).get("comment", ""))
        return Packages(reference.repository, digest, found, comment, document)

    async def provenance(self, reference: Reference) -> Provenance:
        """Where the image comes from. Raises NotFound."""
        digest = await self.digest(reference)
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


class AttestationRoutes:
    """The handlers."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    @describe(Packages, query={"find": str})
    async def packages(self, request: web.Request) -> web.Response:
        """What is in an image: its packages, or those that have `find` in them, and the SPDX document about all."""
        found = await self._statements.packages(_reference(request))
        return answer(replace(found, packages=having(found.packages, request.query.get("find", ""))))

    @describe(Provenance)
    async def provenance(self, request: web.Request) -> web.Response:
        """Where an image comes from, as it was signed: a SLSA v1 predicate."""
        return answer(await self._statements.provenance(_reference(request)))


def _reference(request: web.Request) -> Reference:
    """What the path names. Raises NotFound for what they may not pull."""
    reference = parse_reference(request.match_info["reference"])
    if not identity_of(request).rights.allow(reference.repository, Action.PULL):
        raise NotFound(f"There is no image {reference.repository!r}.", hint="`lumper images` shows all.")
    return reference


def add_routes(app: web.Application, guard: Guard, statements: Statements) -> None:
    """Serve the part of the API about what was told of images."""
    told = AttestationRoutes(statements)
    for path, handler in (("packages", told.packages), ("provenance", told.provenance)):
        guarded = guard.allowed(handler, *PEOPLE, *GRANTED)
        app.router.add_get(f"/api/v1/{path}/{{reference:.+}}", guarded, allow_head=False)
