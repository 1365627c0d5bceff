"""Gogs.

Source: gogs.io, "Webhooks"; gogs/docs-api, "Repositories: Webhooks"; when it sends which event: gogs/gogs,
CommitRepoAction.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from lumper.errors import HookMalformed
from lumper.forges.delivery import (
    checked_ref,
    delivery_id_from,
    event_from,
    known_repository,
    object_id,
)
from lumper.forges.github_format import person_from, push_from, repository_from, why_ignored
from lumper.forges.guide import Guide
from lumper.forges.payload import Payload, json_text, read_payload
from lumper.forges.port import ApiRequest, Forge, Method, Parsed, Repository, Request
from lumper.forges.signature import fits
from lumper.model.refs import TAG_PREFIX
from lumper.model.source import Push

_TOO_OLD = "This Gogs does not say which commit a new tag is of; the next look at the repository's tags builds it."
_OTHERS = {"x-forgejo-event": "forgejo", "x-gitea-event": "gitea"}


class Gogs(Forge):
    """Gogs announces a new tag by a `create` event alone, where others send a push too.

    Its API has neither test deliveries nor statuses of commits.
    """

    name = "gogs"
    words = ("gogs",)
    guide = Guide(
        title="Gogs",
        way=("Settings", "Webhooks", "Add a new webhook", "Gogs"),
        fields=(
            ("Payload URL", "{hook}"),
            ("Content type", "application/json"),
            ("Secret", "the project's secret"),
            ("When should this webhook be triggered", "I need everything, or Create and Push: a tag is a Create"),
        ),
        press="Add Webhook",
        proof="`X-Gogs-Signature` over the JSON",
        event="`create`",
        scopes="any token of an administrator of the repository; there are no statuses",
    )

    def verify(self, request: Request, secret: str) -> bool:
        """Check X-Gogs-Signature over the JSON, which may travel inside a form."""
        try:
            return fits(request.headers.get("x-gogs-signature", ""), secret, json_text(request))
        except HookMalformed:
            return False

    def parse(self, request: Request) -> Parsed:
        """Read the delivery. Raises HookMalformed."""
        for header, forge in _OTHERS.items():
            if header in request.headers:  # they send X-Gogs-Event too
                raise HookMalformed(
                    f"This is a delivery of another forge ({header}).",
                    hint=f"Point that webhook at /hooks/{forge}/PROJECT.",
                )
        event = event_from(request, "x-gogs-event")
        payload = read_payload(request)
        repository, urls = repository_from(payload)
        pushes, ignored = _pushes_from(event, payload, repository, urls)
        return Parsed(
            event=event,
            delivery_id=delivery_id_from(request, "x-gogs-delivery"),
            repository=repository,
            urls=urls,
            pushes=pushes,
            ignored=ignored,
        )

    def make_webhook(self, at: Repository, hook: str, secret: str) -> ApiRequest:
        """A new tag is a create event, a branch that moves a push event."""
        config = {"url": hook, "content_type": "json", "secret": secret}
        return _request(
            "POST", at, "hooks", {"type": "gogs", "active": True, "events": ["create", "push"], "config": config}
        )

    def webhook(self, at: Repository, method: Method, webhook: str) -> ApiRequest | None:
        """Remove it by its id; Gogs shows only the list of all."""
        return _request(method, at, f"hooks/{quote(webhook, safe='')}") if method == "DELETE" else None


def _request(method: str, at: Repository, path: str, body: Mapping[str, Any] | None = None) -> ApiRequest:
    return ApiRequest(method, f"{at.base}/api/v1/repos/{at.name}/{path}", {"Authorization": f"token {at.token}"}, body)


def _pushes_from(event: str, payload: Payload, repository: str, urls: tuple[str, ...]) -> tuple[tuple[Push, ...], str]:
    """The pushes, or why there is none."""
    if event == "push":
        return (push_from(payload, repository, urls),), ""
    if event != "create" or payload.text_or_empty("ref_type") != "tag":
        return (), why_ignored(event, payload, "X-Gogs-Event")
    commit = payload.text_or_empty("sha")
    if not commit:
        return (), _TOO_OLD
    tag = Push(
        repository=known_repository(repository),
        ref=checked_ref(TAG_PREFIX + payload.text("ref")),
        commit=object_id(commit, "sha"),
        pusher=person_from(payload, "sender"),
        urls=urls,
    )
    return (tag,), ""
