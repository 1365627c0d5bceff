"""The API's view of tags: their past, and moving and removing them."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from aiohttp import web
from pydantic import BaseModel, ConfigDict

from lumper.errors import Conflict, Invalid
from lumper.model.images.activity import Activity, AuditAction
from lumper.model.people.people import GRANTED, PEOPLE
from lumper.model.people.rights import Action
from lumper.registry.catalog.catalog import Catalog
from lumper.registry.reference import Reference
from lumper.registry.tags import Moved, Tags
from lumper.web.api.answers import answer
from lumper.web.api.guard import Guard, asking, identity_of
from lumper.web.api.images.references import reference_of
from lumper.web.api.openapi import describe
from lumper.web.api.parameters import body_of, flag, limit_of, number
from lumper.web.api.schemas import Limit, Number


class Move(BaseModel):
    """The body of PUT /api/v1/images/{name}."""

    model_config = ConfigDict(extra="forbid")

    to: str = ""
    undo: bool = False


class TagRoutes:
    """The handlers."""

    def __init__(self, tags: Tags, catalog: Catalog) -> None:
        self._tags = tags
        self._catalog = catalog

    @describe(list[Activity], query={"after": Number, "limit": Limit})
    async def history(self, request: web.Request) -> web.Response:
        """Who did what to a tag, or in a whole repository, the newest first, on from the id `after`."""
        reference = reference_of(request)
        after, limit = number(request, "after", 0), limit_of(request)
        people = identity_of(request).role in PEOPLE
        without = None if people else AuditAction.GRANT  # is for those who grant
        found = await self._tags.history(reference, after=after, limit=limit, without=without)
        if not people:
            found = [replace(one, actor=replace(one.actor, address="")) for one in found]
        return answer(found)

    @describe(Moved, body=Move)
    async def move(self, request: web.Request) -> web.Response:
        """Let a tag point at a digest or at the manifest of another tag (`to`), or `undo` its last move or removal."""
        reference = reference_of(request, "name", Action.PUSH)
        wanted = await body_of(request, Move)
        if bool(wanted.to) is wanted.undo:
            raise Invalid("Say where to: either `to` or `undo`.")
        if wanted.undo:
            return answer(await self._tags.undo(reference, asking(request)))
        return answer(await self._tags.retag(reference, wanted.to, asking(request)))

    @describe(Reference, query={"everything": Literal["0", "1"], "break_index": Literal["0", "1"]})
    async def delete(self, request: web.Request) -> web.Response:
        """Remove `REPOSITORY:TAG`, `REPOSITORY@DIGEST` with all its tags, or all of `REPOSITORY` (`everything=1`).

        What is a part of an index goes with `break_index=1` only: the index stays, and cannot be pulled whole.
        """
        reference = reference_of(request, "name", Action.DELETE)
        if not flag(request, "everything"):
            if reference.digest and not flag(request, "break_index"):
                await self._check_no_part(reference)
            await self._tags.delete(reference, asking(request))
        elif reference.tag or reference.digest:
            raise Invalid(f"{reference} is not a whole repository.", hint="Leave the tag out, or `everything`.")
        else:
            await self._tags.delete_all(reference.repository, asking(request))
        return answer(reference)

    async def _check_no_part(self, reference: Reference) -> None:
        if part := await self._catalog.part_of(reference.repository, reference.digest):
            hint = "Delete the index first; or break it: `lumper image delete --break-index`."
            raise Conflict(part, hint=hint)


def add_routes(app: web.Application, guard: Guard, tags: Tags, catalog: Catalog) -> None:
    """Serve the part of the API about tags."""
    routes = TagRoutes(tags, catalog)
    app.router.add_get("/api/v1/history/{reference:.*}", guard.allowed(routes.history, *PEOPLE, *GRANTED))
    app.router.add_put("/api/v1/images/{name:.*}", guard.allowed(routes.move, *PEOPLE, *GRANTED))
    app.router.add_delete("/api/v1/images/{name:.*}", guard.allowed(routes.delete, *PEOPLE, *GRANTED))
