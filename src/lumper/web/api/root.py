"""What answers at the API's root: its status, its description, and that there is nothing at other addresses."""

from __future__ import annotations

from importlib.metadata import version

from aiohttp import web
from pydantic import BaseModel

from lumper.errors import NotFound
from lumper.model.links import Links
from lumper.model.people.people import Role
from lumper.web.api.answers import answer
from lumper.web.api.guard import Guard
from lumper.web.api.openapi import Describer, describe
from lumper.web.methods import allowed_methods


class Status(BaseModel):
    """What answers, and where people and engines reach it."""

    version: str
    public_url: str
    registry: str


class RootRoutes:
    """The handlers."""

    def __init__(self, links: Links) -> None:
        self._links = links

    @describe(Status)
    async def status(self, _request: web.Request) -> web.Response:
        """What answers here."""
        return answer(
            {"version": version("lumper"), "public_url": self._links.public_url, "registry": self._links.registry}
        )

    async def nothing(self, request: web.Request) -> web.Response:
        """What is not there."""
        methods = await allowed_methods(request)
        if not methods:
            raise NotFound(f"There is no {request.path}.", hint="GET /api/v1/openapi.json lists what there is.")
        allowed = ", ".join(methods)
        refused = answer({"error": f"There is no {request.method} {request.path}.", "hint": f"Use {allowed}."}, 405)
        refused.headers["Allow"] = allowed
        return refused


def add_routes(app: web.Application, guard: Guard, links: Links) -> None:
    """Serve the root; the last of the API's routes, since it takes what no other one does."""
    root = RootRoutes(links)
    app.router.add_get("/api/v1/status", guard.allowed(root.status, *Role), allow_head=False)
    app.router.add_get("/api/v1/openapi.json", guard.allowed(Describer().show, *Role), allow_head=False)
    app.router.add_route("*", "/api/v1/{anything:(?s:.*)}", guard.allowed(root.nothing, *Role))
