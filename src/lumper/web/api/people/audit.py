"""The API's view of the activity log, for administrators and the operator.

GET    /api/v1/audit?actor=&repository=&action=&since=&after=&limit=
"""

from __future__ import annotations

from datetime import UTC, datetime

from aiohttp import web

from lumper.accounts.activity import ActivityLog
from lumper.errors import Invalid
from lumper.model.images.activity import Activity, AuditAction
from lumper.model.people.people import PEOPLE
from lumper.web.api.answers import answer
from lumper.web.api.guard import Guard
from lumper.web.api.openapi import describe
from lumper.web.api.parameters import limit_of, number
from lumper.web.api.schemas import Limit, Number


class AuditRoutes:
    """The handler."""

    def __init__(self, activity: ActivityLog) -> None:
        self._activity = activity

    @describe(
        list[Activity],
        query={
            "actor": str,
            "repository": str,
            "action": AuditAction,
            "since": datetime,
            "after": Number,
            "limit": Limit,
        },
    )
    async def show(self, request: web.Request) -> web.Response:
        """Who did what, the newest first, on from the id `after`."""
        query = request.query
        found = await self._activity.activities(
            after=number(request, "after", 0),
            limit=limit_of(request),
            repository=query.get("repository", ""),
            actor=query.get("actor", ""),
            action=_action(query.get("action")),
            since=_time(query.get("since")),
        )
        return answer(found)


def _action(text: str | None) -> AuditAction | None:
    if text not in (None, *AuditAction):
        raise Invalid(f"There is no action {text!r}.", hint=f"It is one of {', '.join(AuditAction)}.")
    return None if text is None else AuditAction(text)


def _time(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as exc:
        raise Invalid(f"{text!r} is not a time.", hint="Write it as 2026-05-01 or 2026-05-01T12:00:00Z.") from exc


def add_routes(app: web.Application, guard: Guard, activity: ActivityLog) -> None:
    """Serve the part of the API about what was done."""
    app.router.add_get("/api/v1/audit", guard.allowed(AuditRoutes(activity).show, *PEOPLE), allow_head=False)
