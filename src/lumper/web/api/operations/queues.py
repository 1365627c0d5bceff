"""The API's view of the queue: what waits, what was put aside, and putting it back."""

from __future__ import annotations

from aiohttp import web
from pydantic import BaseModel

from lumper.errors import NotFound
from lumper.line.builds.dispatch import Dispatch, KnownWorker
from lumper.model.builds.scheduling import Wait
from lumper.model.events import SHARED
from lumper.model.people.people import PEOPLE
from lumper.queue.port import Broker
from lumper.web.api.answers import answer
from lumper.web.api.guard import Guard
from lumper.web.api.openapi import describe

_SHOWN = 20  # dead letters a topic


class DeadLetter(BaseModel):
    """A message that was put aside, and why."""

    id: str
    reason: str
    deliveries: int


class TopicState(BaseModel):
    """What waits in a topic, and what was put aside."""

    topic: str
    waiting: int
    dead: list[DeadLetter]


class Revived(BaseModel):
    """How many dead letters were published again."""

    topic: str
    revived: int


class QueueRoutes:
    """The handlers."""

    def __init__(self, broker: Broker, dispatch: Dispatch) -> None:
        self._broker = broker
        self._dispatch = dispatch

    @describe(list[TopicState])
    async def show(self, _request: web.Request) -> web.Response:
        """All topics that roles share."""
        return answer([await self._topic(topic) for topic in SHARED])

    async def _topic(self, topic: str) -> dict[str, object]:
        letters = await self._broker.dead_letters(topic, _SHOWN)
        dead = [
            {"id": letter.message.id, "reason": letter.reason, "deliveries": letter.deliveries} for letter in letters
        ]
        return {"topic": topic, "waiting": await self._broker.depth(topic), "dead": dead}

    @describe(list[KnownWorker])
    async def workers(self, _request: web.Request) -> web.Response:
        """The workers, and how many builds each has."""
        return answer(await self._dispatch.workers())

    @describe(list[Wait])
    async def builds(self, _request: web.Request) -> web.Response:
        """The builds that wait, in the order in which they will begin, and why."""
        return answer(list((await self._dispatch.waits()).values()))

    @describe(Revived)
    async def revive(self, request: web.Request) -> web.Response:
        """Give a topic's dead letters another chance."""
        topic = request.match_info["topic"]
        if topic not in SHARED:
            raise NotFound(f"There is no topic {topic!r}.", hint=f"There are {', '.join(SHARED)}.")
        return answer({"topic": topic, "revived": await self._broker.revive(topic)})


def add_routes(app: web.Application, guard: Guard, broker: Broker, dispatch: Dispatch) -> None:
    """Serve the queue's part of the API."""
    queues = QueueRoutes(broker, dispatch)
    app.router.add_get("/api/v1/queue", guard.allowed(queues.show, *PEOPLE))
    app.router.add_get("/api/v1/queue/builds", guard.allowed(queues.builds, *PEOPLE))
    app.router.add_get("/api/v1/workers", guard.allowed(queues.workers, *PEOPLE))
    app.router.add_post("/api/v1/queue/{topic}/revive", guard.allowed(queues.revive, *PEOPLE))
