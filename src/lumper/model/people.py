"""Who may do what, by role."""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    """What a person or a part of Lumper may do.

    admin     everything, accounts included
    operator  everything but accounts and build-private tags
    worker    pull, and push under build-private tags only
    deployer  pull
    mailer    nothing in the registry
    """

    ADMIN = "admin"
    OPERATOR = "operator"
    WORKER = "worker"
    DEPLOYER = "deployer"
    MAILER = "mailer"
