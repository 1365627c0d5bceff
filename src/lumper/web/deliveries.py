"""The API's view of deliveries: what forges sent, what became of it, and the same once more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from aiohttp import web

from lumper.errors import HookMalformed, Invalid, NotFound
from lumper.history.deliveries import StoredDelivery
from lumper.history.store import History
from lumper.hooks.port import Forge, Request
from lumper.hooks.rules import Decision, decide
from lumper.model.source import Project
from lumper.web.api import PEOPLE, Api, answer, id_of, limit_of, number
from lumper.web.hooks import Accepted
from lumper.web.openapi import describe
from lumper.web.shapes import JudgedAgain, Limit, Number, ShownDelivery


class Keeper(Protocol):
    """What keeps deliveries and starts builds."""

    async def again(self, delivery_id: int, project: Project, decision: Decision) -> Accepted:
        """Start those builds of a kept delivery that are missing, and keep the new verdict. Raises NotFound."""


class Replayer:
    """Delivers again what was delivered before. Its signature was good when it came, and is not asked for again."""

    def __init__(self, history: History, keeper: Keeper, forges: Sequence[Forge]) -> None:
        self._history = history
        self._keeper = keeper
        self._forges = {forge.name: forge for forge in forges}

    async def replay(self, delivery_id: int) -> Accepted:
        """Judge it anew, and start the builds that are missing. Raises NotFound, Invalid."""
        delivery = await self._history.deliveries.get(delivery_id)
        forge = self._forges.get(delivery.forge)
        if forge is None:
            raise NotFound(f"Deliveries of {delivery.forge} are no longer understood.")
        project = await self._history.projects.get(delivery.project)
        if not delivery.body:
            hint = "`lumper start` builds a tag without a delivery; [log] delivery_days says how long they are kept."
            raise Invalid(f"What came as delivery {delivery_id} is not kept any more.", hint=hint)
        try:
            parsed = forge.parse(Request(delivery.headers, delivery.body))
        except HookMalformed as exc:
            raise Invalid(exc.message, hint=exc.hint) from exc
        return await self._keeper.again(delivery_id, project, decide(parsed, project))


class Deliveries:
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


def add_routes(app: web.Application, api: Api, history: History, replayer: Replayer) -> None:
    """Serve the part of the API about deliveries."""
    deliveries = Deliveries(history, replayer)
    one = r"/api/v1/deliveries/{id:\d{1,9}}"
    app.router.add_get("/api/v1/deliveries", api.allowed(deliveries.show_all, *PEOPLE), allow_head=False)
    app.router.add_get(one, api.allowed(deliveries.show, *PEOPLE), allow_head=False)
    app.router.add_post(one + "/replay", api.allowed(deliveries.replay, *PEOPLE))
