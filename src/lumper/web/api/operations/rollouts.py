"""The API's view of what runs where."""

from __future__ import annotations

from aiohttp import web

from lumper.line.rollouts import RolloutHistory
from lumper.model.deployment import Container, Rollout
from lumper.model.people.people import PEOPLE
from lumper.web.api.answers import answer
from lumper.web.api.guard import Guard
from lumper.web.api.openapi import describe
from lumper.web.api.parameters import limit_of
from lumper.web.api.schemas import Limit


class RolloutRoutes:
    """The handlers."""

    def __init__(self, rollouts: RolloutHistory) -> None:
        self._rollouts = rollouts

    @describe(list[Container])
    async def list_containers(self, _request: web.Request) -> web.Response:
        """What runs where, as last seen."""
        return answer(await self._rollouts.containers())

    @describe(list[Rollout], query={"service": str, "limit": Limit})
    async def list_rollouts(self, request: web.Request) -> web.Response:
        """The newest rollouts first."""
        service, limit = request.query.get("service", ""), limit_of(request)
        return answer(await self._rollouts.newest(service=service, limit=limit))


def add_routes(app: web.Application, guard: Guard, rollouts: RolloutHistory) -> None:
    """Serve the part of the API about containers and rollouts."""
    routes = RolloutRoutes(rollouts)
    app.router.add_get("/api/v1/containers", guard.allowed(routes.list_containers, *PEOPLE), allow_head=False)
    app.router.add_get("/api/v1/rollouts", guard.allowed(routes.list_rollouts, *PEOPLE), allow_head=False)
