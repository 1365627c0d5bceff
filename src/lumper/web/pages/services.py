"""What runs where: the containers on all hosts, and the rollouts that brought them there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from aiohttp import web

from lumper.line.history import History
from lumper.model.deployment import Container, Rollout, RolloutState
from lumper.web.pages.site import Site

_ROLLOUTS = 50


@dataclass(frozen=True)
class RunningService:
    """A service, its containers, and its newest rollout if that is among the ones asked for."""

    name: str
    containers: tuple[Container, ...]
    newest: Rollout | None

    @property
    def state(self) -> str:
        """In one word: moving, trouble, up or down."""
        if self.newest and self.newest.state in (RolloutState.QUEUED, RolloutState.RUNNING):
            return "moving"
        if not any(container.up for container in self.containers):
            return "down"
        bad = any(not container.up or container.state == "unhealthy" for container in self.containers)
        return "trouble" if bad else "up"


def services(containers: Iterable[Container], rollouts: Iterable[Rollout]) -> list[RunningService]:
    """The containers by service, by name; services that only a rollout knows of are there too."""
    by_name: dict[str, list[Container]] = {}
    newest: dict[str, Rollout] = {}
    for container in containers:
        by_name.setdefault(container.service, []).append(container)
    for rollout in sorted(rollouts, key=lambda rollout: rollout.id):
        newest[rollout.service] = rollout
        by_name.setdefault(rollout.service, [])
    return [RunningService(name, tuple(by_name[name]), newest.get(name)) for name in sorted(by_name)]


class ServicePages:
    """The handlers."""

    def __init__(self, site: Site, history: History) -> None:
        self._site = site
        self._history = history

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Serve them."""
        router.add_get("/services", self._site.page(self.all))

    async def all(self, request: web.Request) -> web.Response:
        """All services and the latest rollouts."""
        rollouts = await self._history.rollouts.newest(limit=_ROLLOUTS)
        found = services(await self._history.rollouts.containers(), rollouts)
        builds = {(rollout.service, rollout.generation): rollout.build_id for rollout in rollouts}
        return self._site.render(request, "services.html", services=found, rollouts=rollouts, builds=builds)
