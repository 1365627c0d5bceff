"""GitHub. Source: docs.github.com, "Webhook events and payloads" and "Validating webhook deliveries"."""

from __future__ import annotations

from lumper.errors import HookMalformed
from lumper.hooks.delivery import delivery_id_from, event_from
from lumper.hooks.forges.github_format import push_from, repository_from, why_ignored
from lumper.hooks.payload import read_payload
from lumper.hooks.port import Parsed, Request
from lumper.hooks.signature import fits

_OTHERS = {"x-forgejo-event": "forgejo", "x-gitea-event": "gitea", "x-gogs-event": "gogs"}


class GitHub:
    """GitHub signs the raw body, a form's too. The older SHA-1 signature is not accepted."""

    name = "github"

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
