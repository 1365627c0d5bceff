"""GitHub.

Source: docs.github.com, "Webhook events and payloads", "Validating webhook deliveries", "REST API endpoints for
repository webhooks" and "for commit statuses".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from lumper.errors import HookMalformed
from lumper.forges.delivery import delivery_id_from, event_from
from lumper.forges.github_format import commit_status, push_from, repository_from, why_ignored
from lumper.forges.guide import Guide
from lumper.forges.payload import read_payload
from lumper.forges.port import ApiRequest, Forge, Method, Parsed, Repository, Request
from lumper.forges.signature import fits
from lumper.forges.statuses import Status

_OTHERS = {"x-forgejo-event": "forgejo", "x-gitea-event": "gitea", "x-gogs-event": "gogs"}


class GitHub(Forge):
    """github.com and GitHub Enterprise Server.

    The raw body is signed, a form's too. The older SHA-1 signature is not accepted. GitHub pings a new webhook itself.
    """

    name = "github"
    hosts = ("github.com",)
    words = ("github",)
    pings = True
    statuses = True
    guide = Guide(
        title="GitHub",
        way=("Settings", "Webhooks", "Add webhook"),
        fields=(
            ("Payload URL", "{hook}"),
            ("Content type", "application/json"),
            ("Secret", "the project's secret"),
            ("Which events", "Just the push event (tags are pushes)"),
        ),
        press="Add webhook",
        proof="`X-Hub-Signature-256` over the raw body",
        event="`push`",
        scopes="fine-grained: *Webhooks* and *Commit statuses*, read and write; classic: `admin:repo_hook`, "
        "`repo:status`",
    )

    def verify(self, request: Request, secret: str) -> bool:
        """Check X-Hub-Signature-256 over the raw body."""
        given = request.headers.get("x-hub-signature-256", "")
        return fits(given, secret, request.body, prefix="sha256=")

    def parse(self, request: Request) -> Parsed:
        """Read the delivery. Raises HookMalformed."""
        for header, forge in _OTHERS.items():
            if header in request.headers:  # they send X-GitHub-Event too, and would be handled twice
                raise HookMalformed(
                    f"This is a delivery of another forge ({header}).",
                    hint=f"Point that webhook at /hooks/{forge}/PROJECT.",
                )
        event = event_from(request, "x-github-event")
        payload = read_payload(request)
        repository, urls = repository_from(payload)
        is_push = event == "push"
        return Parsed(
            event=event,
            delivery_id=delivery_id_from(request, "x-github-delivery"),
            repository=repository,
            urls=urls,
            pushes=(push_from(payload, repository, urls),) if is_push else (),
            ignored="" if is_push else why_ignored(event, payload, "X-GitHub-Event"),
        )

    def make_webhook(self, at: Repository, hook: str, secret: str) -> ApiRequest:
        """Push events: tags are pushes."""
        config = {"url": hook, "content_type": "json", "secret": secret, "insecure_ssl": "0"}
        body = {"name": "web", "active": True, "events": ["push"], "config": config}
        return _request("POST", at, "hooks", body)

    def webhook(self, at: Repository, method: Method, webhook: str) -> ApiRequest:
        """Get or remove it by its id."""
        return _request(method, at, f"hooks/{quote(webhook, safe='')}")

    def set_status(self, at: Repository, commit: str, ref: str, status: Status) -> ApiRequest:
        """A commit status."""
        return _request("POST", at, f"statuses/{commit}", commit_status(status, longest=140))


def _request(method: str, at: Repository, path: str, body: Mapping[str, Any] | None = None) -> ApiRequest:
    base = "https://api.github.com" if at.base.lower() == "https://github.com" else f"{at.base}/api/v3"
    headers = {
        "Authorization": f"Bearer {at.token}",
        "Accept": "application/vnd.github+json",
        "X-GitHub-Api-Version": "2022-11-28",
    }
    return ApiRequest(method, f"{base}/repos/{at.name}/{path}", headers, body)
