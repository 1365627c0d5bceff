"""Bitbucket Server and Data Center.

Source: confluence.atlassian.com, "Event payload" and "Manage webhooks"; docs.atlassian.com, "Bitbucket Server REST
API": webhooks, and build-status.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from lumper.forges.bitbucket_format import STATES, build_status, parsed, signed
from lumper.forges.delivery import (
    checked_event,
    checked_ref,
    delivery_id_from,
    event_from,
    is_none,
    known_repository,
    object_id,
    repository_name,
)
from lumper.forges.guide import Guide
from lumper.forges.payload import Payload, read_payload
from lumper.forges.port import ApiRequest, Forge, Method, Parsed, Repository, Request
from lumper.forges.statuses import Status, StatusState
from lumper.model.source import Person, Push

_PUSH = "repo:refs_changed"
_STATES = {**STATES, StatusState.CANCELLED: "FAILED"}  # older servers know no other


class BitbucketServer(Forge):
    """Bitbucket Server signs the raw body. Its API takes an HTTP access token of the project or repository."""

    name = "bitbucket-server"
    words = ("bitbucket",)
    paths = ("/scm/",)
    pings = True
    statuses = True
    guide = Guide(
        title="Bitbucket Server and Data Center",
        way=("Repository settings", "Webhooks", "Create webhook"),
        fields=(("URL", "{hook}"), ("Secret", "the project's secret"), ("Events", "Repository: Push")),
        press="Create",
        proof="`X-Hub-Signature` (`sha256=…`) over the raw body",
        event="`repo:refs_changed`",
        scopes="an HTTP access token of the repository: *Repository admin*",
    )

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

    def make_webhook(self, at: Repository, hook: str, secret: str) -> ApiRequest:
        """Pushes of branches and tags are one event."""
        body = {"name": "Lumper", "url": hook, "active": True, "events": [_PUSH], "configuration": {"secret": secret}}
        return _request("POST", at, _webhooks(at), body)

    def webhook(self, at: Repository, method: Method, webhook: str) -> ApiRequest:
        """Get or remove it by its id."""
        return _request(method, at, f"{_webhooks(at)}/{quote(webhook, safe='')}")

    def ping(self, at: Repository, made: Mapping[str, Any]) -> ApiRequest:
        """The test of its settings page: `diagnostics:ping`."""
        url = quote(str(made["url"]), safe="")
        return _request("POST", at, f"{_webhooks(at)}/test?url={url}&webhookId={int(made['id'])}")

    def set_status(self, at: Repository, commit: str, ref: str, status: Status) -> ApiRequest:
        """A build status."""
        return _request("POST", at, f"build-status/1.0/commits/{commit}", build_status(status, _STATES))


def _webhooks(at: Repository) -> str:
    key, _, slug = at.name.removeprefix("scm/").partition("/")
    return f"api/1.0/projects/{quote(key)}/repos/{quote(slug)}/webhooks"


def _request(method: str, at: Repository, path: str, body: Mapping[str, Any] | None = None) -> ApiRequest:
    return ApiRequest(method, f"{at.base}/rest/{path}", {"Authorization": f"Bearer {at.token}"}, body)


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
