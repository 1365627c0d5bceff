"""The API's view of deliveries: what forges sent, what became of it, and the same once more."""

from __future__ import annotations

from typing import Any

from aiohttp import web
from pydantic import BaseModel

from lumper.line.deliveries import RawDelivery, StoredDelivery
from lumper.line.history import History
from lumper.model.people.people import PEOPLE
from lumper.model.source import Verdict
from lumper.web.api.answers import answer
from lumper.web.api.guard import Guard
from lumper.web.api.openapi import describe, like
from lumper.web.api.parameters import id_of, limit_of, number
from lumper.web.api.schemas import Limit, Number
from lumper.web.replayer import Replayer

ShownDelivery: Any = like(RawDelivery, "DeliveryWithBody", without=("body",), body=str)


class JudgedAgain(BaseModel):
    """What came of a replay."""

    verdict: Verdict
    reason: str
    builds: tuple[int, ...]


class DeliveryRoutes:
    """The handlers."""

    def __init__(self, history: History, replayer: Replayer) -> None:
        self._history = history
        self._replayer = replayer

    @describe(list[StoredDelivery], query={"project": str, "limit": Limit, "before": Number})
    async def show_all(self, request: web.Request) -> web.Response:
        """The newest deliveries first, without headers and bodies."""
        name = request.query.get("project", "")
        project = await self._history.projects.get(name) if name else None
        found = await self._history.deliveries.newest(
            limit_of(request), project_id=project.id if project else "", before=number(request, "before", 0) or None
        )
        return answer(found)

    @describe(ShownDelivery)
    async def show(self, request: web.Request) -> web.Response:
        """One delivery, with its headers, and its body as text."""
        delivery = await self._history.deliveries.get(id_of(request))
        return answer({**vars(delivery), "body": delivery.body.decode("utf-8", "replace")})

    @describe(JudgedAgain)
    async def replay(self, request: web.Request) -> web.Response:
        """Deliver it again."""
        accepted = await self._replayer.replay(id_of(request))
        return answer({"verdict": accepted.verdict, "reason": accepted.reason, "builds": accepted.builds})


def add_routes(app: web.Application, guard: Guard, history: History, replayer: Replayer) -> None:
    """Serve the part of the API about deliveries."""
    deliveries = DeliveryRoutes(history, replayer)
    one = r"/api/v1/deliveries/{id:\d{1,9}}"
    app.router.add_get("/api/v1/deliveries", guard.allowed(deliveries.show_all, *PEOPLE), allow_head=False)
    app.router.add_get(one, guard.allowed(deliveries.show, *PEOPLE), allow_head=False)
    app.router.add_post(one + "/replay", guard.allowed(deliveries.replay, *PEOPLE))
