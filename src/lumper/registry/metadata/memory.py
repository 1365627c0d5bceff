"""Repositories, manifests and tags in memory: for tests and trials. Nothing outlives the object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from lumper.errors import Conflict
from lumper.model.image import PRIVATE_PREFIX, Image, Link, Manifest, NewManifest, Referrer, Tag, fitting


@dataclass
class _Repository:
    created_at: datetime
    blobs: dict[str, int] = field(default_factory=dict)
    manifests: dict[str, Manifest] = field(default_factory=dict)
    pushed: dict[str, NewManifest] = field(default_factory=dict)
    tags: dict[str, Tag] = field(default_factory=dict)

    @property
    def public_tags(self) -> list[Tag]:
        return [tag for name, tag in sorted(self.tags.items()) if not name.startswith(PRIVATE_PREFIX)]


class MemoryMetadata:
    """The metadata port over dictionaries."""

    def __init__(self) -> None:
        self._repositories: dict[str, _Repository] = {}

    async def link_blob(self, repository: str, digest: str, size: int) -> None:
        """From now on `repository` (made if need be) may serve this blob."""
        self._made(repository).blobs[digest] = size

    async def has_blob(self, repository: str, digest: str) -> bool:
        """Whether `repository` may serve this blob."""
        return digest in self._known(repository).blobs

    async def repositories_with(self, digest: str, *, limit: int = 100) -> list[str]:
        """At most `limit` names of repositories that may serve this blob, in lexical order."""
        return sorted(name for name, known in self._repositories.items() if digest in known.blobs)[:limit]

    async def missing(self, repository: str, links: Sequence[Link]) -> list[Link]:
        """Those of the links that `repository` may not serve."""
        known = self._known(repository)
        return [link for link in links if link.digest not in (known.manifests if link.manifest else known.blobs)]

    async def put_manifest(self, repository: str, manifest: NewManifest, tags: Sequence[str]) -> None:
        """Make the manifest known and let the tags point at it."""
        known = self._made(repository)
        before = known.manifests.get(manifest.digest)
        unique = {(link.digest, link.manifest): link for link in manifest.links}.values()
        now = datetime.now(UTC)
        known.manifests[manifest.digest] = Manifest(
            digest=manifest.digest,
            media_type=manifest.media_type,
            size=manifest.size,
            total=manifest.size + sum(_total(known, link) for link in unique),
            created_at=before.created_at if before else now,
            build_id=before.build_id if before else None,
        )
        known.pushed[manifest.digest] = manifest
        for tag in tags:
            known.tags[tag] = Tag(tag, manifest.digest, now)

    async def manifest(self, repository: str, digest: str) -> Manifest | None:
        """The manifest, if this repository has it."""
        return self._known(repository).manifests.get(digest)

    async def tag(self, repository: str, name: str) -> Tag | None:
        """The tag, or None."""
        return self._known(repository).tags.get(name)

    async def tags(self, repository: str, *, last: str = "", limit: int = 100) -> list[Tag] | None:
        """At most `limit` tags after `last` in lexical order, without build-private ones; None: no such repository."""
        if repository not in self._repositories:
            return None
        return [tag for tag in self._known(repository).public_tags if tag.name > last][:limit]

    async def repositories(self, *, last: str = "", limit: int = 100) -> list[str]:
        """At most `limit` names of repositories after `last` in lexical order."""
        return sorted(name for name in self._repositories if name > last)[:limit]

    async def images(self) -> list[Image]:
        """All repositories with the number of tags and the bytes that they hold."""
        return [
            Image(
                name=name,
                tags=len(known.public_tags),
                size=sum(known.blobs.values()) + sum(m.size for m in known.manifests.values()),
                updated_at=max([known.created_at, *(tag.updated_at for tag in known.public_tags)]),
            )
            for name, known in sorted(self._repositories.items())
        ]

    async def referrers(
        self,
        repository: str,
        subject: str,
        *,
        artifact_types: Sequence[str] = (),
        last: str = "",
        limit: int = 100,
        most_bytes: int = 4 << 20,
    ) -> tuple[list[Referrer], bool]:
        """Manifests with this subject, whose digest comes after `last` in lexical order, and whether more follow."""
        found = [
            Referrer(pushed.digest, pushed.media_type, pushed.size, pushed.artifact_type, pushed.annotations)
            for digest, pushed in sorted(self._known(repository).pushed.items())
            if pushed.subject == subject
            and digest > last
            and (not artifact_types or pushed.artifact_type in artifact_types)
        ]
        count = fitting((one.size for one in found[:limit]), most_bytes)
        return found[:count], count < len(found)

    async def delete_tag(self, repository: str, name: str) -> bool:
        """Remove a tag; whether it was there."""
        return self._known(repository).tags.pop(name, None) is not None

    async def delete_manifest(self, repository: str, digest: str) -> bool:
        """Remove a manifest and the tags that point at it; whether it was there."""
        known = self._known(repository)
        known.tags = {name: tag for name, tag in known.tags.items() if tag.digest != digest}
        known.pushed.pop(digest, None)
        return known.manifests.pop(digest, None) is not None

    async def unlink_blob(self, repository: str, digest: str) -> bool:
        """`repository` no longer serves this blob; whether it did."""
        return self._known(repository).blobs.pop(digest, None) is not None

    async def move_tags(self, repository: str, digest: str, tags: Sequence[str], build_id: int) -> None:
        """Let tags point at a manifest that a build made. Raises Conflict if the repository does not have it."""
        known = self._known(repository)
        if digest not in known.manifests:
            raise Conflict(f"{repository} has no manifest {digest}.")
        known.manifests[digest] = replace(known.manifests[digest], build_id=build_id)
        for tag in tags:
            known.tags[tag] = Tag(tag, digest, datetime.now(UTC), build_id)

    def _known(self, repository: str) -> _Repository:
        return self._repositories.get(repository) or _Repository(datetime.now(UTC))

    def _made(self, repository: str) -> _Repository:
        return self._repositories.setdefault(repository, _Repository(datetime.now(UTC)))


def _total(known: _Repository, link: Link) -> int:
    child = known.manifests.get(link.digest) if link.manifest else None
    return child.total if child else link.size
