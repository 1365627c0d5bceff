"""What the registry keeps for nobody, and why it need not."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class GarbageKind(StrEnum):
    """What is given up: a private or cached tag, a manifest, the right to serve a blob, or bytes in the storage."""

    TAG = "tag"
    CACHED = "cached"
    MANIFEST = "manifest"
    LINK = "link"
    BYTES = "bytes"


REASONS = {
    GarbageKind.TAG: "its build has ended",
    GarbageKind.CACHED: "nobody has asked for this copy of an upstream's tag",
    GarbageKind.MANIFEST: "no tag, index, subject, build or rollout needs it",
    GarbageKind.LINK: "no manifest of the repository refers to it",
    GarbageKind.BYTES: "no repository has it",
}


@dataclass(frozen=True)
class Garbage:
    """One such thing: `name` is a tag or a digest, `repository` is "" for bytes, `size` in bytes."""

    kind: GarbageKind
    repository: str
    name: str
    size: int = 0

    @property
    def why(self) -> str:
        """Why it need not be kept."""
        return REASONS[self.kind]


@dataclass(frozen=True)
class Sweep:
    """What is looked for: what nobody has needed since `before`.

    `untagged`: also manifests that lost their tags; but not one that a tag has left after `left`, so that the tag can
    go back. What was last needed before `since` may be left out: another sweep has judged that when it came of age.
    """

    before: datetime
    untagged: bool = False
    left: datetime | None = None
    since: datetime | None = None
