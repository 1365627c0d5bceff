"""The API's view of the registry's care: garbage collection, verification, and what comes back from the storage."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any, Literal

from aiohttp import web

from lumper.model.images.garbage import Garbage
from lumper.model.people.people import PEOPLE
from lumper.registry.gc.collector import Report
from lumper.registry.rebuild import Trouble
from lumper.registry.registry import Registry
from lumper.registry.verify import Defect
from lumper.web.api.answers import answer, answer_lines
from lumper.web.api.guard import Guard
from lumper.web.api.openapi import describe, like
from lumper.web.api.parameters import flag

_TELL_SECONDS = 5.0
_GARBAGE: Any = like(Garbage, "Garbage", why=str)
_REPORT: Any = like(Report, "Report", without=("garbage",), garbage=list[_GARBAGE])


class MaintenanceRoutes:
    """The handlers."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    @describe(_REPORT, query={"dry_run": Literal["0", "1"]})
    async def collect(self, request: web.Request) -> web.Response:
        """Give up what nobody needs, or only tell what would go (`dry_run=1`); the report of it."""
        return answer(_told(await self._registry.collector.run(dry_run=flag(request, "dry_run"))))

    @describe(str, media_type="application/jsonl", query={"repair": Literal["0", "1"]})
    async def verify(self, request: web.Request) -> web.StreamResponse:
        """Read everything again and set aside what is damaged; `repair=1` also tells the storage of names it has wrong.

        Told as JSON lines: `{"flaw": …}` is what is wrong, `{"progress": …}` comes every few seconds, at last
        `{"done": …}` or `{"error": …}`.
        """
        return await answer_lines(
            request, _told_with("flaw", self._registry.verifier.run(repair=flag(request, "repair")))
        )

    @describe(str, media_type="application/jsonl", query={"dry_run": Literal["0", "1"]})
    async def rebuild(self, request: web.Request) -> web.StreamResponse:
        """Bring back what the storage names and the database does not know, or only tell what would come (`dry_run=1`).

        Told as verification is, with `{"trouble": …}` for what could not be brought back.
        """
        dry_run = flag(request, "dry_run")
        await self._registry.names.tell()
        return await answer_lines(request, _told_with("trouble", self._registry.rebuilder.run(dry_run=dry_run)))


async def _told_with(word: str, work: AsyncIterator[object]) -> AsyncIterator[object]:
    """All that `work` finds, as it is found, and every few seconds how far it is."""
    told = time.monotonic()
    progress: object = None
    async for found in work:
        if isinstance(found, Defect | Trouble):
            yield {word: found}
        else:
            progress = found
        if time.monotonic() - told > _TELL_SECONDS:
            told = time.monotonic()
            yield {"progress": progress}
    yield {"done": progress}


def _told(report: Report) -> dict[str, object]:
    garbage = [{**vars(one), "why": one.why} for one in report.garbage]
    return {**vars(report), "garbage": garbage}


def add_routes(app: web.Application, guard: Guard, registry: Registry) -> None:
    """Serve the care of the registry."""
    care = MaintenanceRoutes(registry)
    app.router.add_post("/api/v1/registry/gc", guard.allowed(care.collect, *PEOPLE))
    app.router.add_post("/api/v1/registry/verify", guard.allowed(care.verify, *PEOPLE))
    app.router.add_post("/api/v1/registry/rebuild", guard.allowed(care.rebuild, *PEOPLE))
