"""The port of a forge's API: which requests make a webhook and set the status of a commit. Values, nothing is sent."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, Protocol

_LONGEST_ID = 64
LONGEST_CONTEXT = 255
"""Characters that each forge takes: columns of GitLab and Bitbucket have no more."""


Method = Literal["GET", "DELETE"]


@dataclass(frozen=True)
class Request:
    """A request to make: JSON goes along and comes back. `headers` hold the token."""

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: Mapping[str, Any] | None = field(default=None, repr=False)


class StatusState(StrEnum):
    """How a build of a commit stands; each forge has words of its own for it."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCESS = "success"
    FAILURE = "failure"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class Status:
    """What people see beside a commit. `context` tells our statuses from those of others; `page` is the build's."""

    state: StatusState
    context: str
    description: str
    page: str


@dataclass(frozen=True)
class Place:
    """A repository at a forge: `base` is the forge's URL without a slash at its end, `token` what opens its API."""

    base: str
    repository: str
    token: str = field(repr=False)


class WebhookState(StrEnum):
    """How the webhook stands that Lumper has made at a forge; `OFF`: the forge delivers nothing to it."""

    THERE = "there"
    OFF = "off"
    ELSEWHERE = "elsewhere"
    GONE = "gone"
    UNKNOWN = "unknown"


def webhook_state(told: Mapping[str, Any], hook: str) -> WebhookState:
    """How a webhook stands that should deliver to the URL `hook`, by what the forge tells of it.

    GitHub and Gitea have its URL in `config`, the others beside the id; GitLab gives up what fails (`alert_status`).
    """
    config = told.get("config")
    if (config if isinstance(config, Mapping) else told).get("url") != hook:
        return WebhookState.ELSEWHERE
    given_up = told.get("alert_status", "executable") != "executable"
    return WebhookState.OFF if told.get("active") is False or given_up else WebhookState.THERE


def webhook_id(made: Mapping[str, Any]) -> str:
    """The forge's id of a webhook that was made, "" if it has told none; Bitbucket Cloud has UUIDs."""
    found = made.get("id") or made.get("uuid")
    return str(found)[:_LONGEST_ID] if isinstance(found, int | str) else ""


def clip(text: str, longest: int) -> str:
    """At most so many characters, the last one an ellipsis if some are left out."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def context(status: Status) -> str:
    """What tells the status from others, in at most 255 characters: one that is longer ends with a digest of itself."""
    if len(status.context) <= LONGEST_CONTEXT:
        return status.context
    digest = hashlib.sha256(status.context.encode("utf-8", "replace")).hexdigest()[:12]
    return f"{status.context[: LONGEST_CONTEXT - 1 - len(digest)]}-{digest}"


class ForgeApi(Protocol):
    """What can be asked of one kind of forge. Methods only compute."""

    def make_webhook(self, hook: str, secret: str) -> Request:
        """Make a webhook that delivers pushes of tags and branches to the URL `hook`."""

    def webhook(self, method: Method, webhook: str) -> Request | None:
        """Ask for the webhook of this id, or remove it: some forges change no secret of one. None: it cannot be."""

    def ping(self, made: Mapping[str, Any]) -> Request | None:
        """Let the webhook that was `made` deliver something; None where the forge does that by itself, or never."""

    @property
    def pings(self) -> bool:
        """Whether a delivery comes of itself or by `ping`, without a push."""

    @property
    def statuses(self) -> bool:
        """Whether commits have statuses."""

    def set_status(self, commit: str, ref: str, status: Status) -> Request | None:
        """Set a status of the commit; None where the forge has none."""
