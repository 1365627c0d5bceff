"""GitLab's REST API. Source: docs.gitlab.com, "Project webhooks API" and "Commits API"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from lumper.hooks.api.port import Method, Place, Request, Status, StatusState, clip, context
from lumper.model.refs import short_name

_LONGEST = 255  # characters of a description
_STATES = {
    StatusState.PENDING: "pending",
    StatusState.RUNNING: "running",
    StatusState.SUCCESS: "success",
    StatusState.FAILURE: "failed",
    StatusState.CANCELLED: "canceled",
}


class GitLabApi:
    """gitlab.com and self-managed GitLab. A test delivery of a push is asked for; it has a signature like any other."""

    pings = True
    statuses = True

    def __init__(self, place: Place) -> None:
        self._project = f"{place.base}/api/v4/projects/{quote(place.repository, safe='')}"
        self._headers = {"PRIVATE-TOKEN": place.token}

    def make_webhook(self, hook: str, secret: str) -> Request:
        """Pushes of branches and of tags are two events."""
        body = {
            "url": hook,
            "token": secret,
            "push_events": True,
            "tag_push_events": True,
            "enable_ssl_verification": True,
        }
        return Request("POST", f"{self._project}/hooks", self._headers, body)

    def webhook(self, method: Method, webhook: str) -> Request | None:
        """By its id."""
        return Request(method, f"{self._project}/hooks/{quote(webhook, safe='')}", self._headers)

    def ping(self, made: Mapping[str, Any]) -> Request | None:
        """A test of the push event, with the newest commit."""
        return Request("POST", f"{self._project}/hooks/{int(made['id'])}/test/push_events", self._headers)

    def set_status(self, commit: str, ref: str, status: Status) -> Request | None:
        """A status of an external pipeline."""
        body = {
            "state": _STATES[status.state],
            "name": context(status),
            "ref": short_name(ref),
            "description": clip(status.description, _LONGEST),
            "target_url": status.page,
        }
        return Request("POST", f"{self._project}/statuses/{commit}", self._headers, body)
