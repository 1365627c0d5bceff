"""The API's view of builds.

GET    /api/v1/builds?project=&limit=&before=
GET    /api/v1/builds/{id}         POST …/cancel   POST …/restart
GET    /api/v1/builds/{id}/login?attempt=          for workers
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import web

from lumper.errors import Conflict
from lumper.line.history import History
from lumper.model.builds.build import Build, BuildState
from lumper.model.builds.scheduling import Wait
from lumper.model.builds.verification import Verification
from lumper.model.deployment import Rollout
from lumper.model.people.people import GRANTED, PEOPLE, Role
from lumper.web.api.answers import answer
from lumper.web.api.guard import Guard, identity_of
from lumper.web.api.openapi import describe, like
from lumper.web.api.parameters import id_of, limit_of, number
from lumper.web.api.schemas import SHOWN_BUILD, Credentials, Limit, Number, ShownBuild
from lumper.web.auth.authenticator import Authenticator
from lumper.web.visibility import check_seen, images_seen_by

BuildWithRollout: Any = like(
    Build, "BuildWithRollout", **SHOWN_BUILD, rollout=Rollout | None, verification=Verification | None
)


class BuildRoutes:
    """The handlers."""

    def __init__(self, history: History, auth: Authenticator) -> None:
        self._history = history
        self._auth = auth

    @describe(list[ShownBuild], query={"project": str, "limit": Limit, "before": Number})
    async def list_builds(self, request: web.Request) -> web.Response:
        """The newest builds first."""
        before = number(request, "before", 0)
        found = await self._history.builds.newest(
            project=request.query.get("project", ""),
            limit=limit_of(request),
            before=before or None,
            images=await images_seen_by(identity_of(request), self._history),
        )
        waits = await self._waits(found)
        return answer([shown_build(build, waits.get(build.id)) for build in found])

    async def _waits(self, builds: Sequence[Build]) -> Mapping[int, Wait]:
        queued = any(build.state is BuildState.QUEUED for build in builds)
        return await self._history.builds.dispatch.waits() if queued else {}

    @describe(BuildWithRollout)
    async def show_build(self, request: web.Request) -> web.Response:
        """One build, and what came of verifying it; for administrators with its rollout."""
        build = await build_seen(request, self._history)
        whole = identity_of(request).role in PEOPLE
        rollout = await self._history.rollouts.of_build(build.id) if whole else None
        waits = await self._waits([build])
        verification = await self._history.verifications.of(build)
        return answer({**shown_build(build, waits.get(build.id)), "rollout": rollout, "verification": verification})

    @describe(ShownBuild)
    async def cancel_build(self, request: web.Request) -> web.Response:
        """Cancel a build."""
        return answer(shown_build(await self._history.builds.cancel(id_of(request))))

    @describe(ShownBuild)
    async def restart_build(self, request: web.Request) -> web.Response:
        """Build the same commit again."""
        return answer(shown_build(await self._history.builds.restart(id_of(request))))

    @describe(Credentials, query={"attempt": Number})
    async def registry_login(self, request: web.Request) -> web.Response:
        """For workers: how an attempt signs in to the registry, until it has ended."""
        build_id, attempt = id_of(request), number(request, "attempt", 0)
        identity = await self._history.accounts.build(build_id, attempt)
        if identity is None:
            raise Conflict(f"Build {build_id} has no attempt {attempt} that goes on.")
        return answer({"username": identity.name, "password": self._auth.build_token(build_id, attempt)})


async def build_seen(request: web.Request, history: History) -> Build:
    """The build, if whoever asks may see it; the mailer may see all. Raises NotFound."""
    build, identity = await history.builds.get(id_of(request)), identity_of(request)
    if identity.role is not Role.MAILER:
        check_seen(identity, build)
    return build


def shown_build(build: Build, wait: Wait | None = None) -> dict[str, Any]:
    """A build as the API shows it, with its place in the queue and the reason why it waits."""
    queued = {"position": wait.position if wait else None, "waits": wait.reason if wait else ""}
    return {**vars(build), "tag": build.tag, "seconds": build.seconds, **queued}


def add_routes(app: web.Application, guard: Guard, history: History, auth: Authenticator) -> None:
    """Serve the part of the API about builds."""
    builds, viewers = BuildRoutes(history, auth), (*PEOPLE, *GRANTED)
    one = r"/api/v1/builds/{id:\d{1,18}}"
    app.router.add_get("/api/v1/builds", guard.allowed(builds.list_builds, *viewers), allow_head=False)
    app.router.add_get(one, guard.allowed(builds.show_build, *viewers), allow_head=False)
    app.router.add_post(one + "/cancel", guard.allowed(builds.cancel_build, *PEOPLE))
    app.router.add_post(one + "/restart", guard.allowed(builds.restart_build, *PEOPLE))
    app.router.add_get(one + "/login", guard.allowed(builds.registry_login, Role.WORKER), allow_head=False)
