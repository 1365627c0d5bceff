"""GitLab: webhooks of projects and groups, and system hooks.

Source: docs.gitlab.com, "Webhook events", "System hooks", "Project webhooks API" and "Commits API"; signatures:
Standard Webhooks, "Signature scheme".
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from lumper.errors import SourceRefused
from lumper.forges.delivery import (
    NONE,
    checked_event,
    delivery_id_from,
    is_none,
    known_repository,
    object_id,
    object_id_or_none,
    ref_from,
    repository_name,
)
from lumper.forges.guide import Guide
from lumper.forges.payload import Payload, read_payload
from lumper.forges.port import ApiRequest, Forge, Method, Parsed, Repository, Request
from lumper.forges.statuses import Status, StatusState, clip, context
from lumper.model.refs import TAG_PREFIX, short_name
from lumper.model.source import Person, Push, parse_git_url

_PUSHES = ("push", "tag_push")
_PATHS = ("path_with_namespace", "project_path_with_namespace")  # of docs.gitlab.com, "System hooks"
_KEY_PREFIX = "whsec_"
_TOLERANCE = 300.0  # seconds between GitLab's clock and ours; Standard Webhooks, "Verifying webhook authenticity"
_TIME = re.compile(r"[0-9]{1,12}")
_MOST_SIGNATURES = 8
_LONGEST = 255  # characters of a description
_STATES = {
    StatusState.PENDING: "pending",
    StatusState.RUNNING: "running",
    StatusState.SUCCESS: "success",
    StatusState.FAILURE: "failed",
    StatusState.CANCELLED: "canceled",
}


class GitLab(Forge):
    """gitlab.com and self-managed GitLab.

    GitLab sends the secret itself or, if a signing token is set, a signature; then the signature alone counts. The API
    sends a test delivery of a push, with a signature like any other.
    """

    name = "gitlab"
    hosts = ("gitlab.com",)
    words = ("gitlab",)
    secret_headers = frozenset({"x-gitlab-token"})
    pings = True
    statuses = True
    guide = Guide(
        title="GitLab",
        way=("Settings", "Webhooks", "Add new webhook"),
        fields=(
            ("URL", "{hook}"),
            ("Secret token", "the project's secret"),
            ("Trigger", "Push events (all branches) and Tag push events"),
        ),
        press="Add webhook",
        note="With a signing token instead of a secret token, give Lumper that token: "
        "lumper project secret NAME --secret-file FILE. More than three tags in one push bring no webhook "
        "(push_event_hooks_limit).",
        proof="`webhook-signature` (a signing token), else `X-Gitlab-Token`",
        event="`tag_push`, in webhooks and system hooks",
        scopes="a project access token with the role Maintainer and the scope `api`",
    )

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock

    def verify(self, request: Request, secret: str) -> bool:
        """Check webhook-signature if there is one, else X-Gitlab-Token."""
        if not secret:
            return False
        if "webhook-signature" in request.headers:
            return self._signed(request, secret)
        given = request.headers.get("x-gitlab-token", "")
        return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), secret.encode("utf-8", "surrogatepass"))

    def _signed(self, request: Request, secret: str) -> bool:
        """Whether one of the signatures is over this id, time and body, and the time is now: no replay."""
        identity, sent = request.headers.get("webhook-id", ""), request.headers.get("webhook-timestamp", "")
        key = _key(secret)
        if not identity or key is None or not _TIME.fullmatch(sent) or abs(self._clock() - int(sent)) > _TOLERANCE:
            return False
        signed = f"{identity}.{sent}.".encode("utf-8", "surrogatepass") + request.body
        expected = b"v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest())
        given = request.headers["webhook-signature"].split(" ")[:_MOST_SIGNATURES]
        return any(hmac.compare_digest(one.encode("utf-8", "surrogatepass"), expected) for one in given)

    def parse(self, request: Request) -> Parsed:
        """Read the delivery. Raises HookMalformed.

        What happened stands in the body: a deleted tag comes under X-Gitlab-Event "Push Hook", and everything that a
        system hook tells under "System Hook". X-Gitlab-Event-UUID is no id of a delivery: two tags that were pushed
        together share it.
        """
        payload = read_payload(request)
        kind = payload.text_or_empty("object_kind") or payload.text_or_empty("event_name")
        told = request.headers.get("x-gitlab-event", "").lower().replace(" ", "_")
        event = checked_event(kind or told, "The header x-gitlab-event or the field object_kind")
        repository, urls = _repository_from(payload)
        return Parsed(
            event=event,
            delivery_id=delivery_id_from(request, "webhook-id", "idempotency-key"),
            repository=repository,
            urls=urls,
            pushes=(_push_from(payload, repository, urls),) if event in _PUSHES else (),
            ignored="" if event in _PUSHES else _why_ignored(event),
        )

    def make_webhook(self, at: Repository, hook: str, secret: str) -> ApiRequest:
        """Pushes of branches and of tags are two events."""
        body = {
            "url": hook,
            "token": secret,
            "push_events": True,
            "tag_push_events": True,
            "enable_ssl_verification": True,
        }
        return _request("POST", at, "hooks", body)

    def webhook(self, at: Repository, method: Method, webhook: str) -> ApiRequest:
        """Get or remove it by its id."""
        return _request(method, at, f"hooks/{quote(webhook, safe='')}")

    def ping(self, at: Repository, made: Mapping[str, Any]) -> ApiRequest:
        """A test of the push event, with the newest commit."""
        return _request("POST", at, f"hooks/{int(made['id'])}/test/push_events")

    def set_status(self, at: Repository, commit: str, ref: str, status: Status) -> ApiRequest:
        """A status of an external pipeline."""
        body = {
            "state": _STATES[status.state],
            "name": context(status),
            "ref": short_name(ref),
            "description": clip(status.description, _LONGEST),
            "target_url": status.page,
        }
        return _request("POST", at, f"statuses/{commit}", body)


def _request(method: str, at: Repository, path: str, body: Mapping[str, Any] | None = None) -> ApiRequest:
    project = f"{at.base}/api/v4/projects/{quote(at.name, safe='')}"
    return ApiRequest(method, f"{project}/{path}", {"PRIVATE-TOKEN": at.token}, body)


def _key(secret: str) -> bytes | None:
    if not secret.startswith(_KEY_PREFIX):
        return secret.encode("utf-8", "surrogatepass")
    try:
        return base64.b64decode(secret.removeprefix(_KEY_PREFIX), validate=True) or None
    except (binascii.Error, ValueError):
        return None


def _repository_from(payload: Payload) -> tuple[str, tuple[str, ...]]:
    """The project's path and its URLs.

    Job events and GitLab before 8.5 have them in `repository` only, and only as URLs; old merge requests in their
    target; system hooks that tell of a project have its path beside the event's name.
    """
    request = payload.object("object_attributes")
    project = payload.object("project") or (request.object("target") if request else None)
    repository = payload.object("repository")
    found = [one for one in (project, repository) if one]
    urls = [one.text_or_empty(field) for one in found for field in ("git_http_url", "git_ssh_url", "web_url")]
    named = [url for url in urls if url]
    path = project.text_or_empty("path_with_namespace") if project else ""
    path = path or next(filter(None, map(payload.text_or_empty, _PATHS)), "") or _path_of(named)
    return repository_name(path, "project.path_with_namespace"), tuple(dict.fromkeys(named))


def _path_of(urls: list[str]) -> str:
    for url in urls:
        try:
            return parse_git_url(url).path
        except SourceRefused:
            continue
    return ""


def _push_from(payload: Payload, repository: str, urls: tuple[str, ...]) -> Push:
    """The one ref that the event tells of. Of an annotated tag `after` is the tag object, `checkout_sha` the commit."""
    ref = ref_from(payload)
    after = object_id(payload.text("after"), "after")
    checkout = object_id_or_none(payload.text_or_empty("checkout_sha"), "checkout_sha")
    deleted = is_none(after) or (ref.startswith(TAG_PREFIX) and is_none(checkout))
    return Push(
        repository=known_repository(repository),
        ref=ref,
        commit=NONE if deleted else (after if is_none(checkout) else checkout),
        before=object_id_or_none(payload.text_or_empty("before"), "before"),
        deleted=deleted,
        pusher=_pusher_from(payload),
        urls=urls,
    )


def _pusher_from(payload: Payload) -> Person:
    name = payload.text_or_empty("user_username") or payload.text_or_empty("user_name")
    email = payload.text_or_empty("user_email")
    return Person(name, email if "@" in email else "")  # "[REDACTED]" where the address is private


def _why_ignored(event: str) -> str:
    if not event:
        return "The request does not say which event it tells of."
    if event == "release":
        return "The event release tells of a release; what builds is the push of its tag (Tag push events)."
    if event == "repository_update":
        return "The event repository_update tells of refs that have moved; what builds is each one's Tag push event."
    return f"The event {event} moves no ref; only pushes of tags and branches build (Push and Tag push events)."
