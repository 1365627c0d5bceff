"""Who may do what: roles, and what each of them may do in every repository."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from lumper.model.people.rights import ALL, EVERY, Action, Grant, Rights


class Role(StrEnum):
    """What a person, a program or a part of Lumper may do.

    admin     everything but what takes the machine's own files
    operator  whoever owns the data folder: the command line on this machine; local git paths too
    user      a person: what grants allow in repositories, and nothing else
    robot     a program: likewise
    build     one attempt of a build: its repository, and there its own tag only
    worker    is handed what each build needs; nothing in the registry of its own
    deployer  pull
    mailer    nothing in the registry
    monitor   reads the metrics and which version runs
    """

    ADMIN = "admin"
    OPERATOR = "operator"
    USER = "user"
    ROBOT = "robot"
    BUILD = "build"
    WORKER = "worker"
    DEPLOYER = "deployer"
    MAILER = "mailer"
    MONITOR = "monitor"


PEOPLE = (Role.ADMIN, Role.OPERATOR)
"""Those who look after Lumper itself."""

GRANTED = (Role.USER, Role.ROBOT)
"""Those who see of it only what grants show them."""

_EVERYWHERE: dict[Role, tuple[Grant, ...]] = {
    Role.ADMIN: (Grant(EVERY, ALL),),
    Role.OPERATOR: (Grant(EVERY, ALL),),
    Role.DEPLOYER: (Grant(EVERY, frozenset({Action.PULL})),),
}


def grants_of_role(role: Role) -> tuple[Grant, ...]:
    """What a role may do without anybody granting it."""
    return _EVERYWHERE.get(role, ())


@dataclass(frozen=True)
class Identity:
    """Who asks: an account, a part of Lumper, or a build.

    `grants` come on top of what the role may do, `limits` are those of a token that reaches less far than its owner.
    `anyone` is what the server allows to whoever asks. `credential` says by what they have come in; it changes with the
    password or the token. `account` tells people and robots from those that only have a role.
    """

    name: str
    role: Role
    grants: tuple[Grant, ...] = ()
    limits: tuple[Grant, ...] | None = None
    credential: str = ""
    account: bool = False
    anyone: tuple[Grant, ...] = ()

    @cached_property
    def rights(self) -> Rights:
        """What they may do in repositories."""
        return Rights(grants_of_role(self.role) + self.grants, self.limits, self.anyone)
