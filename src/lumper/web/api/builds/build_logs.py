"""The API's view of the logs of builds: reading one, and looking for a text in it.

GET    /api/v1/builds/{id}/log?attempt=&offset=&follow=
GET    /api/v1/builds/{id}/log/search?q=&attempt=&offset=&limit=&exact=
"""

from __future__ import annotations

from typing import Annotated, Literal

from aiohttp import web
from pydantic import BaseModel, Field

from lumper.errors import Invalid, NotFound
from lumper.line.history import History
from lumper.model.builds.build import Build, Step
from lumper.model.builds.log import from_line
from lumper.model.builds.log_search import LONGEST_QUERY, Hit, LogSearch
from lumper.model.people.people import GRANTED, PEOPLE, Role
from lumper.web.api.answers import answer
from lumper.web.api.builds.builds import build_seen
from lumper.web.api.guard import Guard
from lumper.web.api.openapi import describe
from lumper.web.api.parameters import flag, number
from lumper.web.api.schemas import Number
from lumper.web.log_lines import check_kept
from lumper.web.log_search import MOST_HITS, search_log


class FoundLine(BaseModel):
    """A line that has the text, of a long one its beginning; `line` counts from 1 in its step, from `offset` on."""

    step: int
    line: int
    stream: int
    at: float
    text: str


class FoundLines(BaseModel):
    """`count` lines have the text, of which the first are told. `whole`: the search has come to the end of the log."""

    count: int
    whole: bool
    lines: list[FoundLine]


class BuildLogRoutes:
    """The handlers."""

    def __init__(self, history: History) -> None:
        self._history = history

    @describe(
        str, query={"attempt": Number, "offset": Number, "follow": Literal["0", "1"]}, media_type="application/jsonl"
    )
    async def read(self, request: web.Request) -> web.StreamResponse:
        """The log as JSON lines, from byte `offset` on; `follow=1` waits for more until the build has ended."""
        wakes = self._history.logs.wakes
        build, attempt = await self._asked(request)
        offset, follow = number(request, "offset", 0), flag(request, "follow")
        await check_kept(self._history.logs, build)
        response = web.StreamResponse(headers={"Content-Type": "application/jsonl"})
        await response.prepare(request)
        while True:
            async for chunk in self._history.logs.read(build.id, attempt, offset):
                offset += len(chunk)
                await response.write(chunk)
            if build.state.final or not follow or build.attempt != attempt:
                break
            await self._history.logs.wait(build.id, attempt, offset, 5.0, wakes)
            wakes = self._history.logs.wakes
            build = await self._history.builds.get(build.id)
        await response.write_eof()
        return response

    @describe(
        FoundLines,
        query={
            "q": Annotated[str, Field(min_length=1, max_length=LONGEST_QUERY)],
            "attempt": Number,
            "offset": Number,
            "limit": Annotated[int, Field(ge=1, le=MOST_HITS)],
            "exact": Literal["0", "1"],
        },
    )
    async def search(self, request: web.Request) -> web.Response:
        """Count the lines that have the text `q`, and tell the first; with `exact=1` capital letters count."""
        build, attempt = await self._asked(request)
        query = LogSearch(request.query.get("q", ""), exact=flag(request, "exact"))
        offset, limit = number(request, "offset", 0), number(request, "limit", 1000)
        if not 1 <= limit <= MOST_HITS:
            raise Invalid(f"limit must be between 1 and {MOST_HITS}.")
        await check_kept(self._history.logs, build)
        found = await search_log(self._history.logs, build.id, attempt, query, offset, limit)
        lines = [line for hit in found.hits if (line := _shown(hit))]
        return answer(FoundLines(count=found.count, whole=found.whole, lines=lines))

    async def _asked(self, request: web.Request) -> tuple[Build, int]:
        """The build and the attempt that are asked for. Raises NotFound."""
        build = await build_seen(request, self._history)
        attempt = number(request, "attempt", build.attempt)
        if not 1 <= attempt <= build.attempt:
            raise NotFound(f"Build {build.id} has no attempt {attempt}.", hint=f"It has {build.attempt}.")
        return build, attempt


def _shown(hit: Hit) -> FoundLine | None:
    try:
        record = from_line(hit.record)
    except ValueError:  # a damaged line
        return None
    if isinstance(record, Step):
        return None
    return FoundLine(step=hit.step, line=hit.line, stream=record.stream, at=record.at, text=record.text)


def add_routes(app: web.Application, guard: Guard, history: History) -> None:
    """Serve the part of the API about logs."""
    logs, one = BuildLogRoutes(history), r"/api/v1/builds/{id:\d{1,18}}/log"
    viewers = (*PEOPLE, *GRANTED)
    app.router.add_get(one, guard.allowed(logs.read, *viewers, Role.MAILER), allow_head=False)
    app.router.add_get(one + "/search", guard.allowed(logs.search, *viewers), allow_head=False)
