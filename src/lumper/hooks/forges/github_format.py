"""The parts of a delivery that GitHub invented and that Gitea and Forgejo send in the same shape."""

from __future__ import annotations

import hashlib
import re

from lumper.errors import HookMalformed
from lumper.hooks.payload import Payload, shown
from lumper.hooks.port import Request
from lumper.model.source import TAG_PREFIX, Person, Push

_EVENT = re.compile(r"[A-Za-z0-9_.-]{0,64}")
_DELIVERY_ID = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
_OBJECT_ID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_MAX_REF = 4096


def event_from(request: Request, *names: str) -> str:
    """The event in the first of these headers that is there, or "". Raises HookMalformed."""
    event = next((request.headers[name] for name in names if name in request.headers), "")
    if not _EVENT.fullmatch(event):
        raise HookMalformed(f"The header {names[0]} does not name an event.")
    return event


def delivery_id_from(request: Request, *names: str) -> str:
    """The forge's id of the delivery, or the SHA-256 of the body where there is no usable one."""
    for name in names:
        if _DELIVERY_ID.fullmatch(request.headers.get(name, "")):
            return request.headers[name]
    return hashlib.sha256(request.body).hexdigest()


def repository_from(payload: Payload) -> tuple[str, tuple[str, ...]]:
    """The repository's name with its owner and its URLs; ("", ()) where the event belongs to none."""
    repository = payload.object("repository")
    if repository is None:
        return "", ()
    name = repository.text_or_empty("full_name") or _owner_and_name(repository)
    if len(name) > 255 or any(ord(c) < 33 or ord(c) == 127 for c in name) or (name and not all(name.split("/"))):
        raise HookMalformed("The field repository.full_name of the payload does not name a repository.")
    urls = (repository.text_or_empty(field) for field in ("clone_url", "ssh_url", "html_url"))
    return name, tuple(dict.fromkeys(url for url in urls if url))


def _owner_and_name(repository: Payload) -> str:
    owner = repository.object("owner")
    login = (owner.text_or_empty("login") or owner.text_or_empty("name")) if owner else ""
    name = repository.text_or_empty("name")
    return f"{login}/{name}" if login and name else ""


def push_from(payload: Payload, repository: str, urls: tuple[str, ...]) -> Push:
    """The one ref that a `push` event tells of.

    An annotated tag has the tag object's id in `after` and the commit's in `head_commit.id`; the latter wins (GitHub
    changelog of 2021-10-01, "The push webhook payload provides a consistent head_commit on tag creation").
    """
    if not repository:
        raise HookMalformed("The payload of the push does not name a repository.")
    ref = payload.text("ref")
    if len(ref) > _MAX_REF:
        raise HookMalformed("The ref in the payload is longer than git allows.")
    after = _object_id(payload.text("after"), "after")
    before = payload.text_or_empty("before")
    deleted = payload.flag("deleted") or set(after) == {"0"}
    head = payload.object("head_commit") if ref.startswith(TAG_PREFIX) and not deleted else None
    return Push(
        repository=repository,
        ref=ref,
        commit=_object_id(head.text("id"), "head_commit.id") if head else after,
        before=_object_id(before, "before") if before else "",
        deleted=deleted,
        pusher=_pusher_from(payload),
        urls=urls,
    )


def _object_id(text: str, field: str) -> str:
    if not _OBJECT_ID.fullmatch(text):
        raise HookMalformed(f"The field {field} of the payload is not a git object id.")
    return text


def _pusher_from(payload: Payload) -> Person:
    pusher = payload.object("pusher")
    if pusher is None:
        return Person()
    logins = (pusher.text_or_empty(field) for field in ("login", "username", "name"))
    return Person(name=next(filter(None, logins), ""), email=pusher.text_or_empty("email"))


def why_ignored(event: str, payload: Payload, header: str) -> str:
    """Why an event other than `push` builds nothing, as a sentence for people."""
    if not event:
        return f"The request has no {header} header, so there is no event to act upon."
    if event == "ping":
        return "The forge only asks whether anybody listens (ping)."
    if event == "release":
        return "The event release tells of a release; what builds is the push of its tag (event push)."
    if event not in ("create", "delete"):
        return f"The event {event} moves no tag; only pushed tags are built."
    kind = "tag" if payload.text_or_empty("ref_type") == "tag" else "branch"
    what = f"The {kind} {shown(payload.text_or_empty('ref'))}"
    if event == "delete":
        return f"{what} was deleted; a deletion never builds."
    rule = "what builds it is its push (event push)" if kind == "tag" else "only pushed tags are built"
    return f"{what} was created; {rule}."
