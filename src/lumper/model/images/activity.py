"""Who did what in the registry, as it is kept and shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from lumper.model.images.image import PRIVATE_PREFIX


class AuditAction(StrEnum):
    """What was done. A tag row tells where the tag pointed `before` and, in `digest`, from then on.

    push    a manifest was pushed, `digest`
    tag     a tag was set or moved
    untag   a tag was removed; `digest` is ""
    delete  a manifest was removed, `digest`
    rule    a rule was set or removed; `repository` is its glob
    secret  a secret for builds was set or removed, as `detail` says
    user, robot, token, grant   an account was changed, as `detail` says; of a grant, `repository` is the pattern
    sign-in, refused   somebody signed in to the pages; credentials were wrong, `actor` is who they claimed to be
    """

    PUSH = "push"
    TAG = "tag"
    UNTAG = "untag"
    DELETE = "delete"
    RULE = "rule"
    USER = "user"
    ROBOT = "robot"
    TOKEN = "token"  # noqa: S105 - not one
    GRANT = "grant"
    SECRET = "secret"  # noqa: S105 - not one
    SIGN_IN = "sign-in"
    REFUSED = "refused"


@dataclass(frozen=True)
class Actor:
    """Who did it: a user or token by `name`, with its role; the client's IP address.

    `role` is "build" for a build, whose `name` is the pusher's at the forge, "server" for what the registry does by
    itself, and "" for anyone without an account.
    """

    name: str = ""
    role: str = ""
    address: str = ""

    @property
    def shown(self) -> str:
        """The name that people are shown; a build without a name is one that nobody pushed."""
        return self.name or ("a build" if self.role == "build" else "anyone")


SERVER = Actor("lumper", "server")
RETENTION = Actor("retention", "server")


@dataclass(frozen=True)
class Activity:
    """One thing that was done. `id` grows with time; it is 0 as long as the row is not written."""

    at: datetime
    action: AuditAction
    actor: Actor
    repository: str = ""
    tag: str = ""
    digest: str = ""
    before: str = ""
    detail: str = ""
    id: int = 0


def pushed(repository: str, digest: str, tags: Sequence[str], actor: Actor, at: datetime) -> list[Activity]:
    """What a push does: the manifest comes, and `tags` point at it. Of a build-private push nothing is told."""
    if tags and all(tag.startswith(PRIVATE_PREFIX) for tag in tags):
        return []
    public = [tag for tag in tags if not tag.startswith(PRIVATE_PREFIX)]
    done = [Activity(at, AuditAction.TAG, actor, repository, tag, digest) for tag in public]
    return [Activity(at, AuditAction.PUSH, actor, repository, digest=digest), *done]
