"""What becomes of a build whose attempt ended without a result that counts: a pure decision."""

from __future__ import annotations

from dataclasses import dataclass

LEASE_SECONDS = 30.0  # a worker that has not been heard of for so long is lost
HEARTBEAT_SECONDS = 5.0
MOST_LOST = 10  # attempts that may be lost with their worker before the build is given up
_DELAYS = (2.0, 10.0)  # seconds before the second and the third try of a temporary failure
_QUICK = 3  # lost attempts after which the next one begins at once: mostly it was not the build
_PAUSES = (5.0, 10.0, 20.0, 40.0, 60.0, 60.0)  # seconds; a build that ends its worker lets others end meanwhile


@dataclass(frozen=True)
class TryAgain:
    """Queue the next attempt, `delay` seconds from now."""

    delay: float


@dataclass(frozen=True)
class GiveUp:
    """The build has failed for good."""

    error: str = ""
    hint: str = ""


def after_temporary_failure(failures: int) -> TryAgain | GiveUp:
    """`failures` temporary failures so far, this one included."""
    return TryAgain(_DELAYS[failures - 1]) if failures <= len(_DELAYS) else GiveUp()


def after_lost_attempt(lost: int) -> TryAgain | GiveUp:
    """`lost` attempts went with their worker since the build was asked for, this one included."""
    if lost <= _QUICK:
        return TryAgain(0.0)
    if lost < MOST_LOST:
        return TryAgain(_PAUSES[lost - _QUICK - 1])
    return GiveUp(
        f"The worker was lost {lost} times while it ran this build.",
        "Look whether the build exhausts the worker's memory or disk, then `lumper restart`.",
    )
