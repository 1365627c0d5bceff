"""GitHub's REST API. Source: docs.github.com, "REST API endpoints for repository webhooks" and "commit statuses"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from lumper.hooks.api.port import Method, Place, Request, Status, StatusState, clip, context

_HOST = "https://github.com"
_LONGEST = 140  # characters of a description
_STATES = {
    StatusState.PENDING: "pending",
    StatusState.RUNNING: "pending",
    StatusState.SUCCESS: "success",
    StatusState.FAILURE: "failure",
    StatusState.CANCELLED: "error",
}


class GitHubApi:
    """github.com and GitHub Enterprise Server. A new webhook is pinged by GitHub itself."""

    pings = True
    statuses = True

    def __init__(self, place: Place) -> None:
        base = "https://api.github.com" if place.base.lower() == _HOST else f"{place.base}/api/v3"
        self._repository = f"{base}/repos/{place.repository}"
        self._headers = {
            "Authorization": f"Bearer {place.token}",
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": "2022-11-28",
        }

    def make_webhook(self, hook: str, secret: str) -> Request:
        """Push events: tags are pushes."""
        config = {"url": hook, "content_type": "json", "secret": secret, "insecure_ssl": "0"}
        body = {"name": "web", "active": True, "events": ["push"], "config": config}
        return Request("POST", f"{self._repository}/hooks", self._headers, body)

    def webhook(self, method: Method, webhook: str) -> Request | None:
        """By its id."""
        return Request(method, f"{self._repository}/hooks/{quote(webhook, safe='')}", self._headers)

    def ping(self, made: Mapping[str, Any]) -> Request | None:
        """It comes of itself."""
        return None

    def set_status(self, commit: str, ref: str, status: Status) -> Request | None:
        """A commit status."""
        body = {
            "state": _STATES[status.state],
            "context": context(status),
            "description": clip(status.description, _LONGEST),
            "target_url": status.page,
        }
        return Request("POST", f"{self._repository}/statuses/{commit}", self._headers, body)
