"""What a role may do in the registry. Pure: the web decides who asks, this decides what is allowed."""

from __future__ import annotations

from typing import Literal

from lumper.model.image import PRIVATE_PREFIX
from lumper.model.people import Role

PULL = "pull"
PUSH = "push"
DELETE = "delete"

_ACTIONS: dict[Role, frozenset[str]] = {
    Role.ADMIN: frozenset({PULL, PUSH, DELETE}),
    Role.OPERATOR: frozenset({PULL, PUSH, DELETE}),
    Role.WORKER: frozenset({PULL, PUSH}),
    Role.DEPLOYER: frozenset({PULL}),
    Role.MAILER: frozenset(),
}


Anonymous = Literal["none", "pull", "push"]
"""What anyone may do without an account; who may push may pull too."""

_ANONYMOUS: dict[Anonymous, frozenset[str]] = {
    "none": frozenset(),
    "pull": frozenset({PULL}),
    "push": frozenset({PULL, PUSH}),
}


def actions(role: Role) -> frozenset[str]:
    """What the role may do in every repository."""
    return _ACTIONS[role]


def anonymous_actions(anonymous: Anonymous) -> frozenset[str]:
    """What anyone may do in every repository."""
    return _ANONYMOUS[anonymous]


def may_list_repositories(role: Role) -> bool:
    """Whether the role may see the catalogue of all repositories."""
    return role in (Role.ADMIN, Role.OPERATOR)


def may_write_tag(role: Role | None, tag: str) -> bool:
    """Whether the role (None: anyone) may move this tag; builds that are not accepted yet have tags of their own.

    Whether they may push or delete at all is another question, which `actions` answers.
    """
    if tag.startswith(PRIVATE_PREFIX):
        return role in (Role.ADMIN, Role.WORKER)
    return role in (Role.ADMIN, Role.OPERATOR, None)
