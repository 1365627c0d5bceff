"""Bitbucket Server and Data Center. Source: confluence.atlassian.com, "Event payload" and "Manage webhooks"."""

from __future__ import annotations

from lumper.hooks.delivery import (
    checked_event,
    checked_ref,
    delivery_id_from,
    event_from,
    is_none,
    known_repository,
    object_id,
    repository_name,
)
from lumper.hooks.payload import Payload, read_payload
from lumper.hooks.port import Parsed, Request
from lumper.hooks.signature import fits
from lumper.model.source import Person, Push

_PUSH = "repo:refs_changed"
_PING = "diagnostics:ping"
_MIRROR = "mirror:repo_synchronized"


class BitbucketServer:
    """Bitbucket Server signs the raw body."""

    name = "bitbucket-server"

    def verify(self, request: Request, secret: str) -> bool:
        """Check X-Hub-Signature over the raw body."""
        return fits(request.headers.get("x-hub-signature", ""), secret, request.body, prefix="sha256=")

    def parse(self, request: Request) -> Parsed:
        """Read the delivery, which may tell of several refs. Raises HookMalformed.

        Of an annotated tag `toHash` is the tag object.
        """
        payload = read_payload(request)
        told = event_from(request, "x-event-key")
        event = told or checked_event(payload.text_or_empty("eventKey"), "The field eventKey of the payload")
        repository, urls = _repository_from(payload)
        changes = payload.objects("changes") if event == _PUSH else []
        pusher = _person_from(payload)
        return Parsed(
            event=event,
            delivery_id=delivery_id_from(request, "x-request-id"),
            repository=repository,
            urls=urls,
            pushes=tuple(_push_from(change, repository, urls, pusher) for change in changes),
            ignored="" if changes else _why_ignored(event),
        )


def _repository_from(payload: Payload) -> tuple[str, tuple[str, ...]]:
    """KEY/slug, as in the URLs of pages; clone URLs by http have `scm/` before it."""
    repository = payload.object("repository")
    if repository is None:
        return "", ()
    project = repository.object("project")
    key, slug = project.text_or_empty("key") if project else "", repository.text_or_empty("slug")
    links = repository.object("links")
    clones = links.objects("clone") if links else []
    urls = tuple(dict.fromkeys(url for clone in clones if (url := clone.text_or_empty("href"))))
    return repository_name(f"{key}/{slug}" if key and slug else "", "repository.slug"), urls


def _push_from(change: Payload, repository: str, urls: tuple[str, ...], pusher: Person) -> Push:
    ref = change.object("ref")
    commit = object_id(change.text("toHash"), "changes.toHash")
    return Push(
        repository=known_repository(repository),
        ref=checked_ref(ref.text("id") if ref else change.text("refId")),
        commit=commit,
        before=object_id(change.text("fromHash"), "changes.fromHash"),
        deleted=change.text_or_empty("type") == "DELETE" or is_none(commit),
        pusher=pusher,
        urls=urls,
    )


def _person_from(payload: Payload) -> Person:
    actor = payload.object("actor")
    if actor is None:
        return Person()
    return Person(actor.text_or_empty("name"), actor.text_or_empty("emailAddress"))


def _why_ignored(event: str) -> str:
    if not event:
        return "The request has no X-Event-Key header, so there is no event to act upon."
    if event == _PING:
        return "The forge only asks whether anybody listens (ping)."
    if event == _PUSH:
        return "The push changed no ref."
    if event == _MIRROR:
        return f"The event {event} tells of a mirror; what builds is the push at its primary ({_PUSH})."
    return f"The event {event} moves no tag; only pushed tags are built."
