"""Formats that Bitbucket Cloud and Server share: signatures, deliveries of several refs, and build statuses."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence

from lumper.forges.payload import Payload
from lumper.forges.port import Parsed, Request
from lumper.forges.signature import fits
from lumper.forges.statuses import Status, StatusState, clip, context
from lumper.model.source import Push

PING = "diagnostics:ping"
MIRROR = "mirror:repo_synchronized"
_LONGEST = 255  # characters of a description
STATES = {
    StatusState.PENDING: "INPROGRESS",
    StatusState.RUNNING: "INPROGRESS",
    StatusState.SUCCESS: "SUCCESSFUL",
    StatusState.FAILURE: "FAILED",
    StatusState.CANCELLED: "STOPPED",
}


def signed(request: Request, secret: str) -> bool:
    """Check X-Hub-Signature over the raw body. The hook's UUID is no secret, and proves nothing."""
    return fits(request.headers.get("x-hub-signature", ""), secret, request.body, prefix="sha256=")


def parsed(
    event: str,
    delivery_id: str,
    repository: tuple[str, tuple[str, ...]],
    changes: Sequence[Payload],
    push_from: Callable[[Payload], Push],
    *,
    push_event: str,
) -> Parsed:
    """The delivery, of whose `changes` each is a push. `repository` is its name and its URLs. Raises HookMalformed."""
    name, urls = repository
    pushes = tuple(map(push_from, changes))
    return Parsed(event, delivery_id, name, urls, pushes, "" if pushes else _why_ignored(event, push_event))


def _why_ignored(event: str, push_event: str) -> str:
    if not event:
        return "The request has no X-Event-Key header, so there is no event to act upon."
    if event == PING:
        return "The forge only asks whether anybody listens (ping)."
    if event == push_event:
        return "The push changed no ref."
    if event == MIRROR:
        return f"The event {event} tells of a mirror; what builds is the push at its primary ({push_event})."
    return f"The event {event} moves no ref; only pushes of tags and branches build ({push_event})."


def build_status(status: Status, states: Mapping[StatusState, str]) -> dict[str, str]:
    """The body of a build status; a key has at most 40 characters."""
    return {
        "key": hashlib.sha256(status.context.encode()).hexdigest()[:40],
        "state": states[status.state],
        "name": context(status),
        "url": status.page,
        "description": clip(status.description, _LONGEST),
    }
