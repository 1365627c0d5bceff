"""The webhook that Lumper made at a forge, read from the API's answers. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

_LONGEST_ID = 64


class WebhookState(StrEnum):
    """The state of a webhook at its forge; `OFF`: the forge delivers nothing to it."""

    THERE = "there"
    OFF = "off"
    ELSEWHERE = "elsewhere"
    GONE = "gone"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Looked:
    """The state of a webhook, in a word and in a sentence."""

    state: WebhookState
    words: str


_WORDS = {
    WebhookState.THERE: "The webhook is there and delivers to {hook}.",
    WebhookState.OFF: "The webhook is switched off at the forge, or given up there because deliveries failed.",
    WebhookState.ELSEWHERE: "The webhook does not deliver to {hook}: it was edited, or [server] public_url.",
}


def looked(told: Mapping[str, Any], hook: str, shared: str) -> Looked:
    """The state of a webhook that should deliver to the URL `hook`, from the forge's answer.

    One made before addresses named the project delivers to the URL `shared`.
    """
    state = webhook_state(told, hook)
    if state is WebhookState.ELSEWHERE and webhook_state(told, shared) is not WebhookState.ELSEWHERE:
        state, hook = webhook_state(told, shared), shared
    return Looked(state, _WORDS[state].format(hook=hook))


def webhook_state(told: Mapping[str, Any], hook: str) -> WebhookState:
    """THERE, OFF or ELSEWHERE.

    GitHub and Gitea have the URL in `config`, the others beside the id; GitLab gives up what fails (`alert_status`).
    """
    config = told.get("config")
    if (config if isinstance(config, Mapping) else told).get("url") != hook:
        return WebhookState.ELSEWHERE
    given_up = told.get("alert_status", "executable") != "executable"
    return WebhookState.OFF if told.get("active") is False or given_up else WebhookState.THERE


def webhook_id(made: Mapping[str, Any]) -> str:
    """The forge's id of a webhook that was made, "" if it named none; Bitbucket Cloud has UUIDs."""
    found = made.get("id") or made.get("uuid")
    return str(found)[:_LONGEST_ID] if isinstance(found, int | str) else ""
