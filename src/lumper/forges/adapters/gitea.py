"""Gitea.

Source: docs.gitea.com, "Webhooks" and "API Usage", and the OpenAPI description of an instance; what is signed:
go-gitea/gitea, services/webhook/deliver.go.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from lumper.errors import HookMalformed
from lumper.forges.delivery import delivery_id_from, event_from
from lumper.forges.github_format import commit_status, push_from, repository_from, why_ignored
from lumper.forges.guide import Guide
from lumper.forges.payload import json_text, read_payload
from lumper.forges.port import ApiRequest, Forge, Method, Parsed, Repository, Request
from lumper.forges.signature import fits
from lumper.forges.statuses import Status

_SIGNATURES = ("x-forgejo-signature", "x-gitea-signature")


class Gitea(Forge):
    """Gitea signs the JSON, also inside a form. Forgejo sends the same under its own names too.

    The API sends a test delivery of the newest commit.
    """

    name: str = "gitea"
    hosts: tuple[str, ...] = ("gitea.com",)
    words: tuple[str, ...] = ("gitea",)
    pings = True
    statuses = True
    guide = Guide(
        title="Gitea",
        way=("Settings", "Webhooks", "Add Webhook", "Gitea"),
        fields=(
            ("Target URL", "{hook}"),
            ("HTTP method", "POST"),
            ("Content type", "application/json"),
            ("Secret", "the project's secret"),
            ("Trigger on", "Push events; leave the branch filter at *"),
        ),
        press="Add Webhook",
        note="If Lumper is in the same private network, the forge must allow it: [webhook] ALLOWED_HOST_LIST in its "
        "app.ini.",
        proof="`X-Gitea-Signature` over the JSON",
        event="`push`",
        scopes="`write:repository`",
    )

    def verify(self, request: Request, secret: str) -> bool:
        """Check X-Forgejo-Signature and X-Gitea-Signature, whichever are there, over the JSON."""
        given = [request.headers[name] for name in _SIGNATURES if name in request.headers]
        try:
            signed = json_text(request)
        except HookMalformed:
            return False
        return bool(given) and all(fits(signature, secret, signed) for signature in given)

    def parse(self, request: Request) -> Parsed:
        """Read the delivery. Raises HookMalformed."""
        event = event_from(request, "x-gitea-event", "x-forgejo-event")
        payload = read_payload(request)
        repository, urls = repository_from(payload)
        is_push = event == "push"
        return Parsed(
            event=event,
            delivery_id=delivery_id_from(request, "x-gitea-delivery", "x-forgejo-delivery"),
            repository=repository,
            urls=urls,
            pushes=(push_from(payload, repository, urls),) if is_push else (),
            ignored="" if is_push else why_ignored(event, payload, "X-Gitea-Event"),
        )

    def make_webhook(self, at: Repository, hook: str, secret: str) -> ApiRequest:
        """Push events: tags are pushes."""
        config = {"url": hook, "content_type": "json", "http_method": "post", "secret": secret}
        body = {"type": self.name, "active": True, "events": ["push"], "branch_filter": "*", "config": config}
        return _request("POST", at, "hooks", body)

    def webhook(self, at: Repository, method: Method, webhook: str) -> ApiRequest:
        """Get or remove it by its id."""
        return _request(method, at, f"hooks/{quote(webhook, safe='')}")

    def ping(self, at: Repository, made: Mapping[str, Any]) -> ApiRequest:
        """A test delivery of the newest commit."""
        return _request("POST", at, f"hooks/{int(made['id'])}/tests")

    def set_status(self, at: Repository, commit: str, ref: str, status: Status) -> ApiRequest:
        """A commit status. Gitea takes a longer description, but people read a short one."""
        return _request("POST", at, f"statuses/{commit}", commit_status(status, longest=255))


def _request(method: str, at: Repository, path: str, body: Mapping[str, Any] | None = None) -> ApiRequest:
    return ApiRequest(method, f"{at.base}/api/v1/repos/{at.name}/{path}", {"Authorization": f"token {at.token}"}, body)
