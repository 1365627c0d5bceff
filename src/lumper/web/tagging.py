"""The API's view of tags: their past, and moving and removing them."""

from __future__ import annotations

from aiohttp import web
from pydantic import BaseModel, ConfigDict

from lumper.errors import Invalid
from lumper.model.activity import Activity
from lumper.registry.tagging import Moved, Reference, Tagging, parse_reference
from lumper.web.api import PEOPLE, Api, answer, asking, body_of, limit_of, number
from lumper.web.openapi import describe
from lumper.web.shapes import Limit, Number


class Move(BaseModel):
    """The body of PUT /api/v1/images/{name}."""

    model_config = ConfigDict(extra="forbid")

    to: str = ""
    undo: bool = False


class Tags:
    """The handlers."""

    def __init__(self, tagging: Tagging) -> None:
        self._tagging = tagging

    @describe(list[Activity], query={"after": Number, "limit": Limit})
    async def history(self, request: web.Request) -> web.Response:
        """Who did what to a tag, or in a whole repository, the newest first, on from the id `after`."""
        reference = parse_reference(request.match_info["reference"])
        after, limit = number(request, "after", 0), limit_of(request)
        return answer(await self._tagging.history(reference, after=after, limit=limit))

    @describe(Moved, body=Move)
    async def move(self, request: web.Request) -> web.Response:
        """Let a tag point at a digest or at the manifest of another tag (`to`), or `undo` its last move or removal."""
        reference, wanted = parse_reference(request.match_info["name"]), await body_of(request, Move)
        if bool(wanted.to) is wanted.undo:
            raise Invalid("Say where to: either `to` or `undo`.")
        if wanted.undo:
            return answer(await self._tagging.undo(reference, asking(request)))
        return answer(await self._tagging.retag(reference, wanted.to, asking(request)))

    @describe(Reference)
    async def delete(self, request: web.Request) -> web.Response:
        """Remove `REPOSITORY:TAG`, or `REPOSITORY@DIGEST` with all its tags."""
        reference = parse_reference(request.match_info["name"])
        await self._tagging.delete(reference, asking(request))
        return answer(reference)


def add_routes(app: web.Application, api: Api, tagging: Tagging) -> None:
    """Serve the part of the API about tags."""
    tags = Tags(tagging)
    app.router.add_get("/api/v1/history/{reference:.+}", api.allowed(tags.history, *PEOPLE))
    app.router.add_put("/api/v1/images/{name:.+}", api.allowed(tags.move, *PEOPLE))
    app.router.add_delete("/api/v1/images/{name:.+}", api.allowed(tags.delete, *PEOPLE))
