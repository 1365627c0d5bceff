"""The API's view of the registry's care: garbage collection, verification, and what comes back from the storage."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any, Literal

from aiohttp import web

from lumper.errors import LumperError
from lumper.model.garbage import Garbage
from lumper.registry.gc import Report
from lumper.registry.rebuild import Trouble
from lumper.registry.registry import Registry
from lumper.registry.verify import Flaw
from lumper.web.api import PEOPLE, Api, answer, flag, line
from lumper.web.openapi import describe, like

_TELL_SECONDS = 5.0
_GARBAGE: Any = like(Garbage, "Garbage", why=str)
_REPORT: Any = like(Report, "Report", without=("garbage",), garbage=list[_GARBAGE])


class Care:
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
        return await _tell(request, "flaw", self._registry.verifier.run(repair=flag(request, "repair")))

    @describe(str, media_type="application/jsonl", query={"dry_run": Literal["0", "1"]})
    async def rebuild(self, request: web.Request) -> web.StreamResponse:
        """Bring back what the storage names and the database does not know, or only tell what would come (`dry_run=1`).

        Told as verification is, with `{"trouble": …}` for what could not be brought back.
        """
        dry_run = flag(request, "dry_run")
        await self._registry.names.tell()
        return await _tell(request, "trouble", self._registry.rebuilder.run(dry_run=dry_run))


async def _tell(request: web.Request, word: str, work: AsyncIterator[object]) -> web.StreamResponse:
    """All that `work` finds, as it is found, and every few seconds how far it is."""
    response = web.StreamResponse(headers={"Content-Type": "application/jsonl"})
    await response.prepare(request)
    told = time.monotonic()
    progress: object = None
    last: dict[str, object] = {}
    try:
        async for found in work:
            if isinstance(found, Flaw | Trouble):
                await response.write(line({word: found}))
            else:
                progress = found
            if time.monotonic() - told > _TELL_SECONDS:
                told = time.monotonic()
                await response.write(line({"progress": progress}))
        last = {"done": progress}
    except LumperError as exc:
        last = {"error": exc.message, "hint": exc.hint}
    await response.write(line(last))
    await response.write_eof()
    return response


def _told(report: Report) -> dict[str, object]:
    garbage = [{**vars(one), "why": one.why} for one in report.garbage]
    return {**vars(report), "garbage": garbage}


def add_routes(app: web.Application, api: Api, registry: Registry) -> None:
    """Serve the care of the registry."""
    care = Care(registry)
    app.router.add_post("/api/v1/registry/gc", api.allowed(care.collect, *PEOPLE))
    app.router.add_post("/api/v1/registry/verify", api.allowed(care.verify, *PEOPLE))
    app.router.add_post("/api/v1/registry/rebuild", api.allowed(care.rebuild, *PEOPLE))
