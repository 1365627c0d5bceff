"""Whether a build gives the same image when it is built again, and what differs where it does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

_TIMES_ONLY = ", only by the times that are written there; "
_ENDS = "`reproducible = true` in lumper.toml ends that, if the engine can"
_KEPT = "`reproducible = true` is set, but times before SOURCE_DATE_EPOCH stay, such as those of files out of a cache"
TIME = "time"
"""What differs of a file when only its time does."""


class Verified(StrEnum):
    """building → comparing → reproducible | differs; or unknown, because it could not be verified."""

    BUILDING = "building"
    COMPARING = "comparing"
    REPRODUCIBLE = "reproducible"
    DIFFERS = "differs"
    UNKNOWN = "unknown"

    @property
    def decided(self) -> bool:
        """Whether there is an answer."""
        return self not in (Verified.BUILDING, Verified.COMPARING)


@dataclass(frozen=True)
class FileDifference:
    """A file of a layer that differs. `what`: content, kind, mode, owner, time, link; or which image has it alone."""

    path: str
    what: tuple[str, ...]


@dataclass(frozen=True)
class Difference:
    """A part of an image that differs: `manifest`, `configuration`, or `layer 3`, counted from 1.

    `what` are the fields that differ, or why a layer was not compared; `files` are the first that differ, and `more`
    is how many there are besides. `times_only`: nothing differs but when something was made. `digest` and `other` are
    those of the part, where it has some.
    """

    part: str
    platform: str = ""
    digest: str = ""
    other: str = ""
    what: tuple[str, ...] = ()
    files: tuple[FileDifference, ...] = ()
    more: int = 0
    times_only: bool = False


@dataclass(frozen=True)
class Verification:
    """A build that was built again, as build `by`, and what came of that.

    `digest` is the image that was to come out once more, `other` what came out. `summary` says it in one sentence.
    """

    build: int
    by: int
    digest: str
    state: Verified
    started_at: datetime
    other: str = ""
    summary: str = ""
    differences: tuple[Difference, ...] = ()
    decided_at: datetime | None = None


def summary_of(differences: Sequence[Difference], *, asked: bool = False) -> str:
    """What differs, in one sentence. `asked`: the recipe asks for the same times already.

    >>> summary_of([Difference("configuration"), Difference("layer 3"), Difference("layer 5")])
    'It differs in the configuration and the layers 3, 5.'
    """
    parts = list(dict.fromkeys(one.part for one in differences))
    layers = [part.partition(" ")[2] for part in parts if part.startswith("layer ")]
    words = [f"the {part}" for part in parts if not part.startswith("layer ")]
    words += [f"the layer{'s' if len(layers) > 1 else ''} {', '.join(layers)}"] if layers else []
    text = f"It differs in {' and '.join(words)}" if words else "It differs"
    times = bool(differences) and all(one.times_only for one in differences)
    return f"{text}{_TIMES_ONLY}{_KEPT if asked else _ENDS}." if times else f"{text}."
