"""Formats that GitHub invented and Gitea, Forgejo and Gogs share: pushes, and statuses of commits."""

from __future__ import annotations

from lumper.forges.delivery import is_none, known_repository, object_id, ref_from, repository_name
from lumper.forges.payload import Payload, shown
from lumper.forges.statuses import Status, StatusState, clip, context
from lumper.model.refs import TAG_PREFIX
from lumper.model.source import Person, Push

_STATES = {
    StatusState.PENDING: "pending",
    StatusState.RUNNING: "pending",
    StatusState.SUCCESS: "success",
    StatusState.FAILURE: "failure",
    StatusState.CANCELLED: "error",
}


def repository_from(payload: Payload) -> tuple[str, tuple[str, ...]]:
    """The repository's name with its owner and its URLs; ("", ()) where the event belongs to none."""
    repository = payload.object("repository")
    if repository is None:
        return "", ()
    name = repository_name(repository.text_or_empty("full_name") or _owner_and_name(repository), "repository.full_name")
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
    ref = ref_from(payload)
    after = object_id(payload.text("after"), "after")
    before = payload.text_or_empty("before")
    deleted = payload.flag("deleted") or is_none(after)
    head = payload.object("head_commit") if ref.startswith(TAG_PREFIX) and not deleted else None
    return Push(
        repository=known_repository(repository),
        ref=ref,
        commit=object_id(head.text("id"), "head_commit.id") if head else after,
        before=object_id(before, "before") if before else "",
        deleted=deleted,
        pusher=person_from(payload, "pusher"),
        urls=urls,
    )


def person_from(payload: Payload, field: str) -> Person:
    """Whoever `field` (pusher, sender) tells of; nobody where it is absent."""
    person = payload.object(field)
    if person is None:
        return Person()
    logins = (person.text_or_empty(name) for name in ("login", "username", "name"))
    return Person(name=next(filter(None, logins), ""), email=person.text_or_empty("email"))


def why_ignored(event: str, payload: Payload, header: str) -> str:
    """Why an event other than `push` builds nothing, as a sentence for people."""
    if not event:
        return f"The request has no {header} header, so there is no event to act upon."
    if event == "ping":
        return "The forge only asks whether anybody listens (ping)."
    if event == "release":
        return "The event release tells of a release; what builds is the push of its tag (event push)."
    if event not in ("create", "delete"):
        return f"The event {event} moves no ref; only pushes of tags and branches build (event push)."
    kind = "tag" if payload.text_or_empty("ref_type") == "tag" else "branch"
    what = f"The {kind} {shown(payload.text_or_empty('ref'))}"
    if event == "delete":
        return f"{what} was deleted; a deletion never builds."
    return f"{what} was created; what may build it is its push (event push)."


def commit_status(status: Status, *, longest: int) -> dict[str, str]:
    """The body of a commit status, whose description has at most `longest` characters."""
    return {
        "state": _STATES[status.state],
        "context": context(status),
        "description": clip(status.description, longest),
        "target_url": status.page,
    }
