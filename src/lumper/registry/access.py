"""What may be done in the registry. Pure: the web decides who asks, this decides what is allowed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from lumper.errors import Invalid
from lumper.model.images.image import PRIVATE_PREFIX, is_cache_tag
from lumper.model.people.people import GRANTED, PEOPLE, Identity, Role
from lumper.model.people.rights import EVERY, Action, Rights, grant

PULL = Action.PULL
PUSH = Action.PUSH
DELETE = Action.DELETE
DATA: frozenset[str] = frozenset({PULL, PUSH, DELETE})
"""What the registry's own API knows."""

Anonymous = Literal["none", "pull", "push"]
"""What anyone may do without an account; who may push may pull too."""

_ANONYMOUS: dict[Anonymous, frozenset[Action]] = {
    "none": frozenset(),
    "pull": frozenset({PULL}),
    "push": frozenset({PULL, PUSH}),
}


def anonymous_rights(anonymous: Anonymous, repositories: Iterable[str] = (EVERY,)) -> Rights:
    """What anyone may do, in the repositories that fit one of the patterns. Raises Invalid."""
    actions = _ANONYMOUS[anonymous]
    try:
        return Rights(tuple(grant(pattern, actions) for pattern in repositories) if actions else ())
    except ValueError as exc:
        raise Invalid(f"[registry] anonymous_repositories: {exc}") from exc


def may_list(identity: Identity | None) -> bool:
    """Whether they may see the list of repositories, of which it has those that they may pull."""
    return identity is not None and identity.role in PEOPLE + GRANTED


def may_write_tag(identity: Identity | None, tag: str) -> bool:
    """Whether they (None: anyone) may move this tag; a build has one of its own until it is accepted, and its caches.

    Whether they may push or delete at all is another question, which `Rights` answers.
    """
    if identity is not None and identity.role is Role.BUILD:
        return tag == identity.name or is_cache_tag(tag)
    if tag.startswith(PRIVATE_PREFIX):
        return identity is not None and identity.role is Role.ADMIN
    return True
