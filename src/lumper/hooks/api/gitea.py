"""The API of Gitea and Forgejo. Source: docs.gitea.com, "API Usage", and the OpenAPI description of an instance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from lumper.hooks.api.port import Method, Place, Request, Status, StatusState, clip, context

_LONGEST = 255  # characters of a description: any number is taken, more than these is no status
_STATES = {
    StatusState.PENDING: "pending",
    StatusState.RUNNING: "pending",
    StatusState.SUCCESS: "success",
    StatusState.FAILURE: "failure",
    StatusState.CANCELLED: "error",
}


class GiteaApi:
    """Gitea, or Forgejo, whose name is the `kind` of its webhooks. A test delivery is asked for."""

    pings = True
    statuses = True

    def __init__(self, place: Place, kind: str = "gitea") -> None:
        self._kind = kind
        self._repository = f"{place.base}/api/v1/repos/{place.repository}"
        self._headers = {"Authorization": f"token {place.token}"}

    def make_webhook(self, hook: str, secret: str) -> Request:
        """Push events: tags are pushes."""
        config = {"url": hook, "content_type": "json", "http_method": "post", "secret": secret}
        body = {"type": self._kind, "active": True, "events": ["push"], "branch_filter": "*", "config": config}
        return Request("POST", f"{self._repository}/hooks", self._headers, body)

    def webhook(self, method: Method, webhook: str) -> Request | None:
        """By its id."""
        return Request(method, f"{self._repository}/hooks/{quote(webhook, safe='')}", self._headers)

    def ping(self, made: Mapping[str, Any]) -> Request | None:
        """A test delivery of the newest commit."""
        return Request("POST", f"{self._repository}/hooks/{int(made['id'])}/tests", self._headers)

    def set_status(self, commit: str, ref: str, status: Status) -> Request | None:
        """A commit status."""
        body = {
            "state": _STATES[status.state],
            "context": context(status),
            "description": clip(status.description, _LONGEST),
            "target_url": status.page,
        }
        return Request("POST", f"{self._repository}/statuses/{commit}", self._headers, body)
