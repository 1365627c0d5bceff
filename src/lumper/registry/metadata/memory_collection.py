"""What no repository in memory need keep, found and removed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime

from lumper.model.images.activity import RETENTION, Activity, AuditAction
from lumper.model.images.garbage import Garbage, GarbageKind, Sweep
from lumper.model.images.image import build_of, tags_beside
from lumper.registry.metadata.memory_log import MemoryLog
from lumper.registry.metadata.memory_names import MemoryNames
from lumper.registry.metadata.memory_repository import Repository


class MemoryCollection(MemoryLog, MemoryNames):
    """The part of the metadata that gives up what is not needed.

    `running` are the builds that have not ended, `needed` are digests of builds and rollouts, `used` those of them
    that run or were built last, with the reason.
    """

    def __init__(self) -> None:
        MemoryLog.__init__(self)
        MemoryNames.__init__(self)
        self.running: set[int] = set()
        self.needed: set[str] = set()
        self.used: dict[str, str] = {}

    async def garbage(self, repository: str, sweep: Sweep, limit: int = 500) -> list[Garbage]:
        """What `repository` need not keep: at most `limit` of each kind."""
        known = self._known(repository)
        stale = [
            name for name, tag in sorted(known.tags.items()) if tag.updated_at < sweep.before and self._stale(name)
        ]
        lately = self._left_since(repository, sweep.left)
        needless = [one for one in sorted(known.manifests) if one not in lately and self._needless(known, one, sweep)]
        kept = {link.digest for pushed in known.pushed.values() for link in pushed.links}
        loose = [one for one in sorted(known.blobs) if one not in kept and known.linked_at[one] < sweep.before]
        return [
            *(Garbage(GarbageKind.TAG, repository, name) for name in stale[:limit]),
            *(Garbage(GarbageKind.MANIFEST, repository, one, known.manifests[one].size) for one in needless[:limit]),
            *(Garbage(GarbageKind.LINK, repository, one, known.blobs[one]) for one in loose[:limit]),
        ]

    def _stale(self, tag: str) -> bool:
        build = build_of(tag)
        return build is not None and build not in self.running

    def _needless(self, known: Repository, digest: str, sweep: Sweep) -> bool:
        kept = {tag.digest for tag in known.tags.values()} | self.used.keys()
        if digest not in known.retired:
            kept |= self.needed
        kept.update(link.digest for one in known.pushed.values() for link in one.links if link.manifest)
        old = known.pushed_at[digest] < sweep.before and (sweep.untagged or digest in known.abandoned | known.retired)
        return old and digest not in kept and known.pushed[digest].subject not in known.manifests

    async def collect(self, repository: str, garbage: Sequence[Garbage], sweep: Sweep) -> list[Garbage]:
        """Remove what is still garbage; what was removed."""
        known = self._known(repository)
        still = set(await self.garbage(repository, sweep, limit=1 << 62))
        gone = [one for one in garbage if one in still]
        for one in gone:
            if one.kind is GarbageKind.TAG:
                known.abandoned.add(known.tags.pop(one.name).digest)
            elif one.kind is GarbageKind.MANIFEST:
                if one.name in known.retired:
                    self._tell(Activity(datetime.now(UTC), AuditAction.DELETE, RETENTION, repository, digest=one.name))
                self._forget_manifest(repository, one.name)
            else:
                self._unlink(repository, one.name)
        return gone

    async def restless(self, sweep: Sweep, last: str = "", limit: int = 100) -> list[str]:
        """All of them: nothing is large here."""
        return [name for name in sorted(self._repositories) if name > last][:limit]

    async def idle_blobs(
        self, before: datetime, *, after: str = "", limit: int = 500, since: datetime | None = None
    ) -> list[tuple[str, int]]:
        """Digest and size of what is in the storage for no repository any more."""
        used = {digest for known in self._repositories.values() for digest in (*known.blobs, *known.manifests)}
        early = since or datetime.min.replace(tzinfo=UTC)
        stored = sorted(self._stored.items())
        found = [(one, size) for one, (size, at) in stored if early <= at < before and one not in used]
        return [one for one in found if one[0] > after][:limit]

    async def claim_blobs(self, digests: Sequence[str], before: datetime, seconds: float) -> set[str]:
        """Those of these that are idle now."""
        return {digest for digest, _ in await self.idle_blobs(before, limit=1 << 62)} & set(digests)

    async def need(self, repository: str, digests: Collection[str], seconds: float) -> set[str]:
        """There is no other process: `Holds` is enough."""
        return set()

    async def forget_blobs(self, digests: Sequence[str], before: datetime) -> None:
        """These are no longer in the storage. Those that are not idle (any more) stay known."""
        for digest, _ in await self.idle_blobs(before, limit=1 << 62):
            if digest in digests:
                del self._stored[digest]

    async def adopt_blobs(self, found: Sequence[tuple[str, int, datetime]]) -> int:
        """Digest, size and time of blobs in the storage: from now on none of them is unknown; how many were."""
        unknown = {digest: (size, at) for digest, size, at in found if digest not in self._stored}
        self._stored |= unknown
        return len(unknown)

    async def known_blobs(self, after: str = "", until: str = "") -> dict[str, tuple[int, bool]]:
        """What is in the storage after `after` and up to, with, `until` ("": all): its size, and if it is needed."""
        used = {digest for known in self._repositories.values() for digest in (*known.blobs, *known.manifests)}
        return {
            digest: (size, digest in used)
            for digest, (size, _) in self._stored.items()
            if digest > after and (not until or digest <= until)
        }

    async def flaws(self, repository: str, limit: int = 1000) -> list[tuple[str, str]]:
        """What `repository` refers to and does not have."""
        known = self._known(repository)
        links = {link for pushed in known.pushed.values() for link in pushed.links}
        kinds = {
            "a tag of a manifest that is not there": {
                name for name, tag in known.tags.items() if tag.digest not in known.manifests
            },
            "an index refers to it, and it is not there": {
                link.digest for link in links if link.manifest and link.digest not in known.manifests
            },
            "a manifest refers to it, and the repository may not serve it": {
                link.digest for link in links if not link.manifest and link.digest not in known.blobs
            },
            "a manifest that is not known to be in the storage": set(known.manifests) - set(self._stored),
            "a blob that is not known to be in the storage": set(known.blobs) - set(self._stored),
        }
        return [(name, words) for words, names in kinds.items() for name in sorted(names)[:limit]]

    def _forget_manifest(self, repository: str, digest: str) -> bool:
        known = self._known(repository)
        told = [name for name in tags_beside(digest) if name in known.tags]
        own = [name for name, tag in known.tags.items() if tag.digest == digest and name not in told]
        self._rename(repository, [digest, *own, *told])
        self._give_up(digest)
        return known.forget_manifest(digest)

    def _unlink(self, repository: str, digest: str) -> bool:
        self._give_up(digest)
        return self._known(repository).blobs.pop(digest, None) is not None

    def _give_up(self, digest: str) -> None:
        if digest in self._stored:
            self._stored[digest] = (self._stored[digest][0], datetime.now(UTC))
