"""Bitbucket Cloud's REST API. Source: developer.atlassian.com, "Repositories: webhooks" and "Commit statuses"."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from lumper.hooks.api.port import Method, Place, Request, Status, StatusState, clip, context

_LONGEST = 255  # characters of a description
STATES = {
    StatusState.PENDING: "INPROGRESS",
    StatusState.RUNNING: "INPROGRESS",
    StatusState.SUCCESS: "SUCCESSFUL",
    StatusState.FAILURE: "FAILED",
    StatusState.CANCELLED: "STOPPED",
}


class BitbucketCloudApi:
    """With an access token of the repository. There are no test deliveries."""

    pings = False
    statuses = True

    def __init__(self, place: Place) -> None:
        self._repository = f"https://api.bitbucket.org/2.0/repositories/{place.repository}"
        self._headers = {"Authorization": f"Bearer {place.token}"}

    def make_webhook(self, hook: str, secret: str) -> Request:
        """Pushes of branches and tags are one event."""
        body = {"description": "Lumper", "url": hook, "active": True, "secret": secret, "events": ["repo:push"]}
        return Request("POST", f"{self._repository}/hooks", self._headers, body)

    def webhook(self, method: Method, webhook: str) -> Request | None:
        """By its UUID."""
        return Request(method, f"{self._repository}/hooks/{quote(webhook, safe='')}", self._headers)

    def ping(self, made: Mapping[str, Any]) -> Request | None:
        """There is no such thing."""
        return None

    def set_status(self, commit: str, ref: str, status: Status) -> Request | None:
        """A build status."""
        url = f"{self._repository}/commit/{commit}/statuses/build"
        return Request("POST", url, self._headers, build_status(status, STATES))


def build_status(status: Status, states: Mapping[StatusState, str]) -> dict[str, str]:
    """The body that both Bitbuckets take; a key has at most 40 characters."""
    return {
        "key": hashlib.sha256(status.context.encode()).hexdigest()[:40],
        "state": states[status.state],
        "name": context(status),
        "url": status.page,
        "description": clip(status.description, _LONGEST),
    }
