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
from lumper.hooks.forges.bitbucket_format import parsed, signed
from lumper.hooks.payload import Payload, read_payload
from lumper.hooks.port import Parsed, Request
from lumper.model.source import Person, Push

_PUSH = "repo:refs_changed"


class BitbucketServer:
    """Bitbucket Server signs the raw body."""

    name = "bitbucket-server"

    def verify(self, request: Request, secret: str) -> bool:
        """Check X-Hub-Signature over the raw body."""
        return signed(request, secret)

    def parse(self, request: Request) -> Parsed:
        """Read the delivery, which may tell of several refs. Raises HookMalformed.

        Of an annotated tag `toHash` is the tag object.
        """
        payload = read_payload(request)
        told = event_from(request, "x-event-key")
        event = told or checked_event(payload.text_or_empty("eventKey"), "The field eventKey of the payload")
        repository = _repository_from(payload)
        pusher = _person_from(payload)
        return parsed(
            event,
            delivery_id_from(request, "x-request-id"),
            repository,
            payload.objects("changes") if event == _PUSH else [],
            lambda change: _push_from(change, *repository, pusher),
            push_event=_PUSH,
        )


def _repository_from(payload: Payload) -> tuple[str, tuple[str, ...]]:
    """KEY/slug, as in the URLs of pages; clone URLs by http have `scm/` before it.

    Events of pull requests name it as what they want to get into, `repo:modified` as what it is now.
    """
    pull = payload.object("pullRequest")
    target = pull.object("toRef") if pull else None
    named = payload.object("repository") or payload.object("new")
    repository = named or (target.object("repository") if target else None)
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
