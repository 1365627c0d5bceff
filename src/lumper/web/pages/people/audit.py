"""Audit: who did what, for administrators."""

from __future__ import annotations

from urllib.parse import urlencode

from aiohttp import web

from lumper.accounts.activity import ActivityLog
from lumper.errors import Invalid
from lumper.model.images.activity import AuditAction
from lumper.web.pages.builds import number
from lumper.web.pages.site import Site

_A_PAGE = 100


class AuditPages:
    """The handlers."""

    def __init__(self, site: Site, activity: ActivityLog) -> None:
        self._site = site
        self._activity = activity

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Serve them."""
        router.add_get("/audit", self._site.page(self.all))

    async def all(self, request: web.Request) -> web.Response:
        """The newest first, of one actor, repository or action if that is asked for."""
        asked = {key: request.query.get(key, "") for key in ("actor", "repository", "action")}
        if asked["action"] not in ("", *AuditAction):
            raise Invalid(f"There is no action {asked['action']!r}.", hint=f"It is one of {', '.join(AuditAction)}.")
        after = number(request, "after") or 0
        action = AuditAction(asked["action"]) if asked["action"] else None
        rows = await self._activity.activities(
            after=after, limit=_A_PAGE + 1, actor=asked["actor"], repository=asked["repository"], action=action
        )
        given = {key: value for key, value in asked.items() if value}
        older = f"?{urlencode({**given, 'after': rows[_A_PAGE - 1].id})}" if len(rows) > _A_PAGE else ""
        first = f"?{urlencode(given)}"
        return self._site.render(
            request,
            "audit.html",
            rows=rows[:_A_PAGE],
            actions=list(AuditAction),
            after=after,
            older=older,
            first=first,
            asked=asked,
        )
