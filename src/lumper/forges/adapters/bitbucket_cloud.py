"""Bitbucket Cloud.

Source: support.atlassian.com, "Event payloads" and "Manage webhooks"; developer.atlassian.com, "Repositories: webhooks"
and "Commit statuses".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from lumper.forges.bitbucket_format import STATES, build_status, parsed, signed
from lumper.forges.delivery import (
    NONE,
    checked_ref,
    delivery_id_from,
    event_from,
    known_repository,
    object_id,
    repository_name,
)
from lumper.forges.guide import Guide
from lumper.forges.payload import Payload, read_payload
from lumper.forges.port import ApiRequest, Forge, Method, Parsed, Repository, Request
from lumper.forges.statuses import Status
from lumper.model.refs import BRANCH_PREFIX, TAG_PREFIX
from lumper.model.source import Person, Push

_PUSH = "repo:push"
_PREFIXES = {"tag": TAG_PREFIX, "branch": BRANCH_PREFIX}


class BitbucketCloud(Forge):
    """Bitbucket signs the raw body. Its API takes an access token of the repository and has no test deliveries."""

    name = "bitbucket-cloud"
    hosts = ("bitbucket.org",)
    statuses = True
    guide = Guide(
        title="Bitbucket Cloud",
        way=("Repository settings", "Webhooks", "Add webhook"),
        fields=(("URL", "{hook}"), ("Secret", "the project's secret"), ("Triggers", "Repository push")),
        press="Save",
        note="Up to five refs of one push come along: push many tags in several goes.",
        proof="`X-Hub-Signature` (`sha256=…`) over the raw body",
        event="`repo:push`, up to five refs",
        scopes="a repository access token: *Webhooks*, *Repositories: write*",
    )

    def verify(self, request: Request, secret: str) -> bool:
        """Check X-Hub-Signature over the raw body."""
        return signed(request, secret)

    def parse(self, request: Request) -> Parsed:
        """Read the delivery, which may tell of several refs. Raises HookMalformed."""
        event = event_from(request, "x-event-key")
        payload = read_payload(request)
        repository = _repository_from(payload)
        push = payload.object("push") if event == _PUSH else None
        changes = push.objects("changes") if push else []
        pusher = _person_from(payload)
        return parsed(
            event,
            delivery_id_from(request, "x-request-uuid"),
            repository,
            changes,
            lambda change: _push_from(change, *repository, pusher),
            push_event=_PUSH,
        )

    def make_webhook(self, at: Repository, hook: str, secret: str) -> ApiRequest:
        """Pushes of branches and tags are one event."""
        body = {"description": "Lumper", "url": hook, "active": True, "secret": secret, "events": [_PUSH]}
        return _request("POST", at, "hooks", body)

    def webhook(self, at: Repository, method: Method, webhook: str) -> ApiRequest:
        """Get or remove it by its UUID."""
        return _request(method, at, f"hooks/{quote(webhook, safe='')}")

    def set_status(self, at: Repository, commit: str, ref: str, status: Status) -> ApiRequest:
        """A build status."""
        return _request("POST", at, f"commit/{commit}/statuses/build", build_status(status, STATES))


def _request(method: str, at: Repository, path: str, body: Mapping[str, Any] | None = None) -> ApiRequest:
    url = f"https://api.bitbucket.org/2.0/repositories/{at.name}/{path}"
    return ApiRequest(method, url, {"Authorization": f"Bearer {at.token}"}, body)


def _repository_from(payload: Payload) -> tuple[str, tuple[str, ...]]:
    repository = payload.object("repository")
    if repository is None:
        return "", ()
    name = repository_name(repository.text_or_empty("full_name"), "repository.full_name")
    links = repository.object("links")
    html = links.object("html") if links else None
    url = html.text_or_empty("href") if html else ""
    return name, (url,) if url else ()


def _push_from(change: Payload, repository: str, urls: tuple[str, ...], pusher: Person) -> Push:
    """One ref: `new` is absent where it was deleted, `old` where it was made."""
    new, old = change.object("new"), change.object("old")
    ref = new or old or change
    kind = ref.text("type")
    return Push(
        repository=known_repository(repository),
        ref=checked_ref(_PREFIXES.get(kind, f"refs/{kind}/") + ref.text("name")),
        commit=_commit_of(new),
        before=_commit_of(old),
        deleted=new is None,
        pusher=pusher,
        urls=urls,
    )


def _commit_of(ref: Payload | None) -> str:
    target = ref.object("target") if ref else None
    return object_id(target.text("hash"), "push.changes.target.hash") if target else NONE


def _person_from(payload: Payload) -> Person:
    actor = payload.object("actor")
    if actor is None:
        return Person()
    names = (actor.text_or_empty(name) for name in ("nickname", "username", "display_name"))
    return Person(next(filter(None, names), ""))
