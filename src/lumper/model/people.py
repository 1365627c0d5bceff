"""Who may do what, by role."""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    """What a person or a part of Lumper may do.

    admin     everything but what takes the machine's own files
    operator  whoever owns the data folder: the command line on this machine; local git paths too
    worker    pull, and push under build-private tags only
    deployer  pull
    mailer    nothing in the registry
    """

    ADMIN = "admin"
    OPERATOR = "operator"
    WORKER = "worker"
    DEPLOYER = "deployer"
    MAILER = "mailer"
