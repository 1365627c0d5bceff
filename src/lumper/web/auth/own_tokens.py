"""Which API tokens somebody may make. Pure but for the clock."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from lumper.accounts.grants import checked
from lumper.errors import Forbidden, Invalid
from lumper.model.people.people import GRANTED, PEOPLE, Identity, Role
from lumper.model.people.rights import ALL, EVERY, Grant


def holder_of(identity: Identity, role: Role | None) -> tuple[Role | None, str]:
    """The role and the owner of a token that they ask for, of which there is one. Raises Forbidden, Invalid."""
    if identity.role not in PEOPLE and (role is not None or not identity.credential.startswith("password:")):
        raise Forbidden("Only with your password you make tokens, and only your own.", hint="Sign in to the pages.")
    if role is Role.OPERATOR and identity.role is not Role.OPERATOR:
        raise Forbidden(
            "A token of the role operator is made by the command line on the server's own machine only.",
            hint="Choose another role.",
        )
    if role in (*GRANTED, Role.BUILD):
        raise Invalid(f"There are no tokens of the role {role}.", hint="Make a robot, or leave the role out.")
    if role is None and not identity.account:
        role = Role.ADMIN
    return role, "" if role else identity.name


def tokens_of(identity: Identity) -> str | None:
    """Whose tokens they may see and revoke: their own; None for everybody's. Raises Forbidden.

    Who has only a token with limits would revoke those that reach further than it does.
    """
    if identity.role in PEOPLE:
        return None
    if not identity.account or identity.limits is not None:
        raise Forbidden("This token opens repositories, and nothing else.", hint="Sign in with your password for that.")
    return identity.name


def limits_of(repositories: Sequence[str], allow: Sequence[str]) -> tuple[Grant, ...] | None:
    """How far a token reaches: None for as far as its owner. Raises Invalid."""
    if not repositories and not allow:
        return None
    return tuple(checked(pattern, allow or ALL) for pattern in repositories or [EVERY])


def expiry(days: int | None) -> datetime | None:
    """When what is made now and lives for so long expires."""
    return None if days is None else datetime.now(UTC) + timedelta(days=days)
