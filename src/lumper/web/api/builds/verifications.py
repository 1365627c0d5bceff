"""The part of the API that verifies builds: whether the same image comes out when they are built again."""

from __future__ import annotations

import asyncio
from typing import Literal

from aiohttp import web

from lumper.errors import NotFound
from lumper.line.history import History
from lumper.model.builds.verification import Verification
from lumper.model.people.people import GRANTED, PEOPLE
from lumper.web.api.answers import answer
from lumper.web.api.guard import Guard, identity_of
from lumper.web.api.openapi import describe
from lumper.web.api.parameters import flag, id_of
from lumper.web.visibility import check_seen

_MOST_SECONDS = 30.0  # that an answer is waited for
_LOOK_SECONDS = 5.0  # between two looks: another server may have decided


class VerificationRoutes:
    """The handlers."""

    def __init__(self, history: History) -> None:
        self._history = history

    @describe(Verification)
    async def verify(self, request: web.Request) -> web.Response:
        """Build it again, uncached, to see whether the same image comes out; no tag moves and nobody is told."""
        return answer(await self._history.verifications.begin(id_of(request)))

    @describe(Verification, query={"follow": Literal["0", "1"]})
    async def show(self, request: web.Request) -> web.Response:
        """What came of verifying a build; `follow=1` waits for that, half a minute at most."""
        build = await self._history.builds.get(id_of(request))
        check_seen(identity_of(request), build)
        loop = asyncio.get_running_loop()
        end = loop.time() + (_MOST_SECONDS if flag(request, "follow") else 0.0)
        while True:
            wakes = self._history.logs.wakes
            found = await self._history.verifications.of(build)
            if found is None:
                hint = f"`lumper build verify {build.id}` does that."
                raise NotFound(f"The image of build {build.id} was not verified.", hint=hint)
            if found.state.decided or loop.time() >= end:
                return answer(found)
            second = await self._history.builds.get(found.by)
            longest = min(_LOOK_SECONDS, end - loop.time())
            await self._history.logs.wait(second.id, second.attempt, 1 << 62, longest, wakes)


def add_routes(app: web.Application, guard: Guard, history: History) -> None:
    """Serve it."""
    one, verifying = r"/api/v1/builds/{id:\d{1,18}}", VerificationRoutes(history)
    app.router.add_post(f"{one}/verify", guard.allowed(verifying.verify, *PEOPLE))
    app.router.add_get(f"{one}/verification", guard.allowed(verifying.show, *PEOPLE, *GRANTED), allow_head=False)
