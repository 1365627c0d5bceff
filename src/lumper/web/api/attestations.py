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
from lumper.registry.attest.provenance import PROVENANCE
from lumper.registry.attest.store import Attestations
from lumper.registry.contents.packages import Package
from lumper.registry.contents.spdx import SPDX, listed
from lumper.registry.reference import Reference
from lumper.web.api.answers import answer
from lumper.web.api.guard import Guard
from lumper.web.api.openapi import describe
from lumper.web.api.references import manifest_of, reference_of


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


class AttestationRoutes:
    """The handlers."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    @describe(Packages, query={"find": str})
    async def packages(self, request: web.Request) -> web.Response:
        """What is in an image: its packages, or those that have `find` in them, and the SPDX document about all."""
        found = await self._statements.packages(reference_of(request))
        return answer(replace(found, packages=having(found.packages, request.query.get("find", ""))))

    @describe(Provenance)
    async def provenance(self, request: web.Request) -> web.Response:
        """Where an image comes from, as it was signed: a SLSA v1 predicate."""
        return answer(await self._statements.provenance(reference_of(request)))


def add_routes(app: web.Application, guard: Guard, statements: Statements) -> None:
    """Serve the part of the API about what was told of images."""
    told = AttestationRoutes(statements)
    for path, handler in (("packages", told.packages), ("provenance", told.provenance)):
        guarded = guard.allowed(handler, *PEOPLE, *GRANTED)
        app.router.add_get(f"/api/v1/{path}/{{reference:.+}}", guarded, allow_head=False)
