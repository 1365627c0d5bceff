"""One repository in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from lumper.model.images.image import (
    PRIVATE_PREFIX,
    STATEMENTS,
    Link,
    Manifest,
    NewManifest,
    Tag,
    tags_beside,
)


@dataclass
class Repository:
    """One repository; what is in it by digest or name."""

    created_at: datetime
    blobs: dict[str, int] = field(default_factory=dict)
    linked_at: dict[str, datetime] = field(default_factory=dict)
    pushed_at: dict[str, datetime] = field(default_factory=dict)
    abandoned: set[str] = field(default_factory=set)
    retired: set[str] = field(default_factory=set)
    pulled_at: dict[str, datetime] = field(default_factory=dict)
    manifests: dict[str, Manifest] = field(default_factory=dict)
    pushed: dict[str, NewManifest] = field(default_factory=dict)
    tags: dict[str, Tag] = field(default_factory=dict)

    @property
    def public_tags(self) -> list[Tag]:
        return [tag for name, tag in sorted(self.tags.items()) if not name.startswith(PRIVATE_PREFIX)]

    def use(self, digest: str) -> None:
        """Somebody has a use for the manifest."""
        self.abandoned.discard(digest)
        self.retired.discard(digest)

    def above(self, digest: str) -> set[str]:
        """The manifest or blob itself, and all manifests that it is a part of."""
        found, last = {digest}, 0
        while len(found) > last:
            last = len(found)
            found |= {one for one, pushed in self.pushed.items() if found & {link.digest for link in pushed.links}}
        return found

    def below(self, digest: str) -> Iterator[str]:
        """What the manifest keeps: its children, blobs or manifests, and its referrers."""
        yield from (link.digest for link in self.pushed[digest].links)
        yield from (other for other, pushed in self.pushed.items() if pushed.subject == digest)

    def forget_manifest(self, digest: str) -> bool:
        """Remove a manifest, its tags and those beside it; what only it kept is young again. Whether it was there."""
        gone = {name: tag for name in tags_beside(digest) if (tag := self.tags.pop(name, None)) is not None}
        self.abandoned |= {tag.digest for tag in gone.values()} | {
            one
            for one, pushed in self.pushed.items()
            if pushed.subject == digest and pushed.artifact_type in STATEMENTS
        }
        self.tags = {name: tag for name, tag in self.tags.items() if tag.digest != digest}
        if digest not in self.manifests:
            return False
        now = datetime.now(UTC)
        for kept in self.below(digest):
            for times in (self.linked_at, self.pushed_at):
                if kept in times:
                    times[kept] = now
            if digest in self.abandoned | self.retired and kept in self.manifests:
                self.abandoned.add(kept)
        self.use(digest)
        del self.manifests[digest], self.pushed[digest], self.pushed_at[digest]
        return True


def total(known: Repository, link: Link) -> int:
    """The bytes behind a link: a child manifest counts with its own layers."""
    child = known.manifests.get(link.digest) if link.manifest else None
    return child.total if child else link.size
