"""The API's view of what this Lumper has told of an image: its packages and its provenance."""

from __future__ import annotations

from dataclasses import replace

from aiohttp import web

from lumper.model.people.people import GRANTED, PEOPLE
from lumper.web.api.answers import answer
from lumper.web.api.guard import Guard
from lumper.web.api.images.references import reference_of
from lumper.web.api.openapi import describe
from lumper.web.statements import Packages, Provenance, Statements, having


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
        app.router.add_get(f"/api/v1/{path}/{{reference:.*}}", guarded, allow_head=False)
