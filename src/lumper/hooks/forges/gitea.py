"""Gitea.

Source: docs.gitea.com, "Webhooks"; what is signed: go-gitea/gitea, services/webhook/deliver.go.
"""

from __future__ import annotations

from lumper.errors import HookMalformed
from lumper.hooks.delivery import delivery_id_from, event_from
from lumper.hooks.forges.github_format import push_from, repository_from, why_ignored
from lumper.hooks.payload import json_text, read_payload
from lumper.hooks.port import Parsed, Request
from lumper.hooks.signature import fits

_SIGNATURES = ("x-forgejo-signature", "x-gitea-signature")


class Gitea:
    """Gitea signs the JSON, also where it travels inside a form. Forgejo sends the same under names of its own too."""

    @property
    def name(self) -> str:
        """The name in URLs and on the command line."""
        return "gitea"

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
