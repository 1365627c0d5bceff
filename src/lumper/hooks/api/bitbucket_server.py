"""The REST API of Bitbucket Server and Data Center.

Source: docs.atlassian.com, "Bitbucket Server REST API": webhooks, and build-status.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from lumper.hooks.api.bitbucket_cloud import STATES, build_status
from lumper.hooks.api.port import Method, Place, Request, Status, StatusState

_STATES = {**STATES, StatusState.CANCELLED: "FAILED"}  # older servers know no other


class BitbucketServerApi:
    """With an HTTP access token of the project or repository. A test delivery is asked for."""

    pings = True
    statuses = True

    def __init__(self, place: Place) -> None:
        key, _, slug = place.repository.removeprefix("scm/").partition("/")
        self._base = place.base
        self._webhooks = f"{place.base}/rest/api/1.0/projects/{quote(key)}/repos/{quote(slug)}/webhooks"
        self._headers = {"Authorization": f"Bearer {place.token}"}

    def make_webhook(self, hook: str, secret: str) -> Request:
        """Pushes of branches and tags are one event."""
        events = ["repo:refs_changed"]
        body = {"name": "Lumper", "url": hook, "active": True, "events": events, "configuration": {"secret": secret}}
        return Request("POST", self._webhooks, self._headers, body)

    def webhook(self, method: Method, webhook: str) -> Request | None:
        """By its id."""
        return Request(method, f"{self._webhooks}/{quote(webhook, safe='')}", self._headers)

    def ping(self, made: Mapping[str, Any]) -> Request | None:
        """The test that its settings page has: `diagnostics:ping`."""
        url = quote(str(made["url"]), safe="")
        return Request("POST", f"{self._webhooks}/test?url={url}&webhookId={int(made['id'])}", self._headers)

    def set_status(self, commit: str, ref: str, status: Status) -> Request | None:
        """A build status."""
        url = f"{self._base}/rest/build-status/1.0/commits/{commit}"
        return Request("POST", url, self._headers, build_status(status, _STATES))
