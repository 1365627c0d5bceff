"""What is known of repositories in memory, and their names as the storage has to hear of them."""

from __future__ import annotations

import itertools
from collections.abc import Container, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from lumper.model.images.image import PRIVATE_PREFIX, Manifest, Name, NewManifest, Rename, Restored, Tag
from lumper.registry.metadata.memory_repository import Repository, total


class MemoryNames:
    """The part of the metadata that the storage repeats."""

    def __init__(self) -> None:
        self._repositories: dict[str, Repository] = {}
        self._stored: dict[str, tuple[int, datetime]] = {}
        self._renames: list[Rename] = []
        self._numbers = itertools.count(1)

    async def known_names(self, repository: str, references: Sequence[str]) -> dict[str, str]:
        """What these digests and tags of `repository` are; without those unknown."""
        known = self._said(repository)
        return {one: known[one] for one in references if one in known}

    async def names(self, repository: str, *, last: str = "", limit: int = 500) -> list[Name]:
        """At most `limit` manifests and public tags whose reference comes after `last` in lexical order."""
        return [Name(repository, *one) for one in sorted(self._said(repository).items()) if one[0] > last][:limit]

    def _said(self, repository: str) -> dict[str, str]:
        known = self._known(repository)
        types = {digest: manifest.media_type for digest, manifest in known.manifests.items()}
        return types | {tag.name: tag.digest for tag in known.public_tags}

    async def restore(self, repository: str, found: Sequence[Restored], *, abandoned: bool = False) -> int:
        """Make known manifests and the right to serve their blobs; how many were not."""
        known = self._made(repository)
        new = [one for one in found if self._restorable(repository, one.manifest.digest, known.manifests)]
        for one in new:
            for link in one.blobs:
                if link.digest not in known.blobs:
                    self._link(repository, link.digest, link.size)
            self._keep(known, one.manifest, datetime.now(UTC))
            digest = one.manifest.digest
            known.manifests[digest] = replace(known.manifests[digest], created_at=one.at)
            if abandoned:
                known.abandoned.add(digest)
        return len(new)

    async def restore_tags(self, repository: str, tags: Sequence[Tag]) -> list[str]:
        """Make those tags that are not there and have no rename, of manifests that are there; their names."""
        known = self._known(repository)
        here = [tag for tag in tags if tag.digest in known.manifests]
        made = [tag for tag in here if self._restorable(repository, tag.name, known.tags)]
        known.tags.update({tag.name: tag for tag in made})
        known.abandoned -= {tag.digest for tag in made}
        return [tag.name for tag in made]

    def _restorable(self, repository: str, reference: str, known: Container[str]) -> bool:
        changed = any((one.repository, one.reference) == (repository, reference) for one in self._renames)
        return reference not in known and not changed

    async def renames(self, after: int = 0, limit: int = 500) -> list[Rename]:
        """At most `limit` names of which the storage is to hear."""
        return [one for one in self._renames if one.number > after][:limit]

    async def rename(self, repository: str, references: Sequence[str]) -> None:
        """Treat these names of `repository` as if they had changed."""
        if repository in self._repositories:
            self._rename(repository, references)

    async def rename_all(self) -> None:
        """Treat every name as if it had changed."""
        for repository in self._repositories:
            self._rename(repository, self._said(repository))

    async def renamed(self, numbers: Sequence[int]) -> None:
        """The storage has heard of these."""
        self._renames = [one for one in self._renames if one.number not in numbers]

    def _rename(self, repository: str, references: Iterable[str]) -> None:
        now = datetime.now(UTC)
        self._renames += [
            Rename(next(self._numbers), repository, one, now)
            for one in references
            if not one.startswith(PRIVATE_PREFIX)
        ]

    def _link(self, repository: str, digest: str, size: int) -> None:
        known, now = self._made(repository), datetime.now(UTC)
        known.blobs[digest], known.linked_at[digest] = size, now
        self._stored[digest] = (size, now)

    def _keep(self, known: Repository, manifest: NewManifest, now: datetime) -> None:
        before = known.manifests.get(manifest.digest)
        unique = {(link.digest, link.manifest): link for link in manifest.links}.values()
        known.manifests[manifest.digest] = Manifest(
            digest=manifest.digest,
            media_type=manifest.media_type,
            size=manifest.size,
            total=manifest.size + sum(total(known, link) for link in unique),
            created_at=before.created_at if before else now,
            build_id=before.build_id if before else None,
        )
        known.pushed[manifest.digest], known.pushed_at[manifest.digest] = manifest, now
        known.use(manifest.digest)
        self._stored[manifest.digest] = (manifest.size, now)

    def _known(self, repository: str) -> Repository:
        return self._repositories.get(repository) or Repository(datetime.now(UTC))

    def _made(self, repository: str) -> Repository:
        return self._repositories.setdefault(repository, Repository(datetime.now(UTC)))
