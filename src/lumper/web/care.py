"""The API's view of the registry's care.

POST /api/v1/registry/gc?dry_run=1     give up what nobody needs, or only tell what would go; the report of it
"""

from __future__ import annotations

from aiohttp import web

from lumper.registry.gc import Report
from lumper.registry.registry import Registry
from lumper.web.api import PEOPLE, Api, answer


class Care:
    """The handlers."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def collect(self, request: web.Request) -> web.Response:
        """Collect garbage."""
        return answer(_told(await self._registry.collector.run(dry_run=request.query.get("dry_run") == "1")))


def _told(report: Report) -> dict[str, object]:
    garbage = [{**vars(one), "why": one.why} for one in report.garbage]
    return {**vars(report), "garbage": garbage}


def add_routes(app: web.Application, api: Api, registry: Registry) -> None:
    """Serve the care of the registry."""
    care = Care(registry)
    app.router.add_post("/api/v1/registry/gc", api.allowed(care.collect, *PEOPLE))
