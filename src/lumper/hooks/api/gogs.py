"""The API of Gogs. Source: gogs/docs-api, "Repositories: Webhooks"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from lumper.hooks.api.port import Method, Place, Request, Status


class GogsApi:
    """Gogs has neither test deliveries in its API nor statuses of commits."""

    pings = False
    statuses = False

    def __init__(self, place: Place) -> None:
        self._repository = f"{place.base}/api/v1/repos/{place.repository}"
        self._headers = {"Authorization": f"token {place.token}"}

    def make_webhook(self, hook: str, secret: str) -> Request:
        """A new tag is a create event, a branch that moves a push event."""
        config = {"url": hook, "content_type": "json", "secret": secret}
        body = {"type": "gogs", "active": True, "events": ["create", "push"], "config": config}
        return Request("POST", f"{self._repository}/hooks", self._headers, body)

    def webhook(self, method: Method, webhook: str) -> Request | None:
        """By its id; Gogs tells of all of them only."""
        return (
            Request(method, f"{self._repository}/hooks/{quote(webhook, safe='')}", self._headers)
            if method == "DELETE"
            else None
        )

    def ping(self, made: Mapping[str, Any]) -> Request | None:
        """There is no such thing."""
        return None

    def set_status(self, commit: str, ref: str, status: Status) -> Request | None:
        """There is no such thing."""
        return None
