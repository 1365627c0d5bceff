"""Gogs. Source: gogs.io, "Webhooks"; when it sends what: gogs/gogs, CommitRepoAction."""

from __future__ import annotations

from lumper.errors import HookMalformed
from lumper.hooks.delivery import (
    checked_ref,
    delivery_id_from,
    event_from,
    known_repository,
    object_id,
)
from lumper.hooks.forges.github_format import person_from, push_from, repository_from, why_ignored
from lumper.hooks.payload import Payload, json_text, read_payload
from lumper.hooks.port import Parsed, Request
from lumper.hooks.signature import fits
from lumper.model.refs import TAG_PREFIX
from lumper.model.source import Push

_TOO_OLD = "This Gogs does not say which commit a new tag is of; the next look at the repository's tags builds it."
_OTHERS = {"x-forgejo-event": "forgejo", "x-gitea-event": "gitea"}


class Gogs:
    """Gogs tells of a new tag by a `create` event alone, where others send a push too."""

    name = "gogs"

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
