"""Repositories, manifests and tags in memory: for tests and trials. Nothing outlives the object."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from lumper.errors import Conflict, NotFound
from lumper.model.globs import fits
from lumper.model.images.activity import RETENTION, SERVER, Activity, Actor, AuditAction, pushed
from lumper.model.images.image import (
    PRIVATE_PREFIX,
    Image,
    Link,
    Manifest,
    NewManifest,
    Referrer,
    Tag,
    TagState,
    beside,
    fitting,
)
from lumper.registry.metadata.memory_collection import MemoryCollection
from lumper.registry.metadata.memory_repository import Repository


class MemoryMetadata(MemoryCollection):
    """The metadata port over dictionaries."""

    async def link_blob(self, repository: str, digest: str, size: int) -> None:
        """From now on `repository` (made if need be) may serve this blob."""
        self._link(repository, digest, size)

    async def has_blob(self, repository: str, digest: str) -> bool:
        """Whether `repository` may serve this blob."""
        return digest in self._known(repository).blobs

    def remembers_blob(self, repository: str, digest: str) -> bool:
        """Whether `repository` may serve this blob."""
        return digest in self._known(repository).blobs

    async def repositories_with(self, digest: str, *, limit: int = 100) -> list[str]:
        """At most `limit` names of repositories that may serve this blob, in lexical order."""
        return sorted(name for name, known in self._repositories.items() if digest in known.blobs)[:limit]

    async def missing(self, repository: str, links: Sequence[Link]) -> list[Link]:
        """Those of the links that `repository` may not serve."""
        known = self._known(repository)
        return [link for link in links if link.digest not in (known.manifests if link.manifest else known.blobs)]

    async def put_manifest(
        self,
        repository: str,
        manifest: NewManifest,
        tags: Sequence[str],
        actor: Actor = SERVER,
        *,
        expected: str | None = None,
    ) -> None:
        """Make the manifest known and let the tags point at it."""
        known = self._made(repository)
        self._check_pointing(repository, tags, expected)
        self._check_moves(repository, known, tags, manifest.digest)
        now = datetime.now(UTC)
        self._keep(known, manifest, now)
        self._done(pushed(repository, manifest.digest, tags, actor, now))
        for tag in tags:
            known.tags[tag] = Tag(tag, manifest.digest, now)

    async def touch(self, repository: str, digest: str, tags: Sequence[str] = ()) -> None:
        """The manifest and those of the tags that are there are as young as if they were pushed now."""
        known, now = self._known(repository), datetime.now(UTC)
        if digest in known.pushed_at:
            known.pushed_at[digest] = now
        for name in tags:
            if name in known.tags:
                known.tags[name] = replace(known.tags[name], updated_at=now)

    async def manifest(self, repository: str, digest: str) -> Manifest | None:
        """The manifest, if this repository has it."""
        return self._known(repository).manifests.get(digest)

    async def digests(self, repository: str, beginning: str, limit: int) -> list[str]:
        """At most `limit` digests of manifests that begin so, in the order of their bytes."""
        return sorted(one for one in self._known(repository).manifests if one.startswith(beginning))[:limit]

    def remembered_manifest(self, repository: str, digest: str) -> Manifest | None:
        """The manifest, if this repository has it."""
        return self._known(repository).manifests.get(digest)

    async def tag(self, repository: str, name: str) -> Tag | None:
        """The tag, or None."""
        return self._known(repository).tags.get(name)

    async def tag_states(
        self,
        repository: str,
        *,
        after: tuple[str, str] = ("", ""),
        among: Sequence[str] | None = None,
        pulls: bool = True,
        limit: int = 500,
    ) -> list[TagState]:
        """At most `limit` public tags after this digest and name, in this order; only of digests `among`, if given."""
        known = self._known(repository)
        at = known.pulled_at if pulls else {}
        found = [TagState(tag.name, tag.digest, tag.updated_at, at.get(tag.digest)) for tag in known.public_tags]
        wanted = [x for x in found if (x.digest, x.name) > after and (among is None or x.digest in among)]
        return sorted(wanted, key=lambda state: (state.digest, state.name))[:limit]

    async def states_of(self, repository: str, names: Sequence[str]) -> list[TagState]:
        """Those of the public tags that are there, in lexical order, without the last pull."""
        found = [TagState(x.name, x.digest, x.updated_at) for x in self._known(repository).public_tags]
        return sorted((state for state in found if state.name in names), key=lambda state: state.name)

    async def pulled(self, pulls: Mapping[tuple[str, str], datetime]) -> None:
        """When manifests were pulled last, by repository and digest; the indexes that they are part of were, too."""
        for (repository, digest), at in pulls.items():
            known = self._known(repository)
            above = {one for one, pushed in known.pushed.items() if digest in {link.digest for link in pushed.links}}
            for one in (above | {digest}) & known.manifests.keys():
                known.pulled_at[one] = at

    async def in_use(self) -> dict[str, str]:
        """The digests that are in use, and why."""
        return dict(self.used)

    async def retire(self, repository: str, states: Sequence[TagState], why: str) -> list[str]:
        """Remove those of the tags that are still as they were, neither immutable nor needed; their names."""
        known, now, gone = self._known(repository), datetime.now(UTC), []
        freezing = (await self.rules()).freezing(repository)
        for state in states:
            tag = known.tags.get(state.name)
            same = tag is not None and (tag.digest, tag.updated_at) == (state.digest, state.updated_at)
            if same and state.digest not in self.used and not (freezing and freezing.freezes(state.name)):
                del known.tags[state.name]
                self._rename(repository, [state.name])
                gone.append(state)
                done = Activity(
                    now, AuditAction.UNTAG, RETENTION, repository, state.name, before=state.digest, detail=why
                )
                self._done([done])
        for digest in {state.digest for state in gone} - {tag.digest for tag in known.tags.values()}:
            known.retired.add(digest)
            known.pushed_at[digest] = now
        return [state.name for state in gone]

    async def usage(self, repositories: str, without: Collection[str] = ()) -> int:
        """The bytes that the repositories fitting this glob hold; what several of them hold counts once.

        Those of the digests `without` do not count.
        """
        held: dict[str, int] = {}
        for name, known in self._repositories.items():
            if fits(repositories, name):
                held |= known.blobs | {digest: manifest.size for digest, manifest in known.manifests.items()}
        return sum(size for digest, size in held.items() if digest not in without)

    async def holds(self, repositories: str, digest: str) -> bool:
        """Whether one of the repositories fitting this glob has this blob or manifest."""
        fitting = (known for name, known in self._repositories.items() if fits(repositories, name))
        return any(digest in known.blobs or digest in known.manifests for known in fitting)

    def remembered_tag(self, repository: str, name: str) -> Tag | None:
        """The tag, or None."""
        return self._known(repository).tags.get(name)

    async def tags(self, repository: str, *, last: str = "", limit: int = 100) -> list[Tag] | None:
        """At most `limit` tags after `last` in lexical order, without build-private ones; None: no such repository."""
        if repository not in self._repositories:
            return None
        return [tag for tag in self._known(repository).public_tags if tag.name > last][:limit]

    async def repositories(self, *, last: str = "", limit: int = 100, holding: bool = False) -> list[str]:
        """At most `limit` names of repositories after `last` in lexical order; `holding`: that have a manifest."""
        found = (name for name, known in self._repositories.items() if known.manifests or not holding)
        return sorted(name for name in found if name > last)[:limit]

    async def images(self) -> list[Image]:
        """All repositories that have a manifest, with the number of tags and the bytes that they hold."""
        return [
            Image(
                name=name,
                tags=sum(not beside(tag.name) for tag in known.public_tags),
                size=sum(known.blobs.values()) + sum(m.size for m in known.manifests.values()),
                updated_at=max([known.created_at, *(tag.updated_at for tag in known.public_tags)]),
            )
            for name, known in sorted(self._repositories.items())
            if known.manifests
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

    async def point_tag(
        self, repository: str, name: str, digest: str, actor: Actor, *, expected: str | None = None, detail: str = ""
    ) -> None:
        """Let a tag point at a manifest that is there, if it points at `expected` now."""
        known, now = self._known(repository), datetime.now(UTC)
        if digest not in known.manifests:
            raise NotFound(f"{repository} has no manifest {digest}.")
        self._check_pointing(repository, [name], expected)
        self._check_moves(repository, known, [name], digest)
        known.use(digest)
        self._done([Activity(now, AuditAction.TAG, actor, repository, name, digest, detail=detail)])
        known.tags[name] = Tag(name, digest, now)
        self._rename(repository, [name])

    def _check_moves(self, repository: str, known: Repository, names: Sequence[str], digest: str) -> None:
        moving = (name for name in names if name in known.tags and known.tags[name].digest != digest)
        self._check_frozen(repository, moving)

    def _check_removal(self, repository: str, known: Repository, digest: str) -> None:
        above = known.above(digest)
        self._check_frozen(repository, (name for name, tag in known.tags.items() if tag.digest in above))

    def _check_pointing(self, repository: str, names: Sequence[str], expected: str | None) -> None:
        known = self._known(repository).tags
        for name in names:
            if expected is not None and (known[name].digest if name in known else "") != expected:
                raise Conflict(f"The tag {repository}:{name} has moved meanwhile.", hint="Look at it again.")

    async def delete_tag(
        self, repository: str, name: str, actor: Actor = SERVER, *, expected: str | None = None
    ) -> bool:
        """Remove a tag; whether it was there."""
        self._check_pointing(repository, [name], expected)
        self._check_moves(repository, self._known(repository), [name], "")
        gone = self._known(repository).tags.pop(name, None)
        if gone:
            self._rename(repository, [name])
            self._done([Activity(datetime.now(UTC), AuditAction.UNTAG, actor, repository, name, before=gone.digest)])
        return gone is not None

    async def delete_manifest(self, repository: str, digest: str, actor: Actor = SERVER) -> bool:
        """Remove a manifest and the tags that point at it; whether it was there."""
        known, now = self._known(repository), datetime.now(UTC)
        self._check_removal(repository, known, digest)
        names = [name for name, tag in sorted(known.tags.items()) if tag.digest == digest]
        if not self._forget_manifest(repository, digest):
            return False
        self._done([Activity(now, AuditAction.UNTAG, actor, repository, name, before=digest) for name in names])
        self._done([Activity(now, AuditAction.DELETE, actor, repository, digest=digest)])
        return True

    async def unlink_blob(self, repository: str, digest: str) -> bool:
        """`repository` no longer serves this blob; whether it did."""
        self._check_removal(repository, self._known(repository), digest)
        return self._unlink(repository, digest)

    async def move_tags(
        self, repository: str, digest: str, tags: Sequence[str], build_id: int, actor: Actor = SERVER
    ) -> None:
        """Let tags point at a manifest that a build made. Raises Conflict if the repository does not have it."""
        known = self._known(repository)
        if digest not in known.manifests:
            raise Conflict(f"{repository} has no manifest {digest}.")
        self._check_moves(repository, known, tags, digest)
        known.manifests[digest] = replace(known.manifests[digest], build_id=build_id)
        known.use(digest)
        now = datetime.now(UTC)
        self._done(
            [Activity(now, AuditAction.TAG, actor, repository, x, digest, detail=f"build {build_id}") for x in tags]
        )
        for tag in tags:
            known.tags[tag] = Tag(tag, digest, now, build_id)
        self._rename(repository, tags)

    def _done(self, done: Sequence[Activity]) -> None:
        """Write down what is about to be done; of a tag where it points until then, and nothing if it stays there."""
        for one in done:
            pointed = self._known(one.repository).tags.get(one.tag) if one.action is AuditAction.TAG else None
            before = pointed.digest if pointed else one.before
            moves = one.action is not AuditAction.TAG or before != one.digest
            if moves and not one.tag.startswith(PRIVATE_PREFIX):
                self._tell(replace(one, before=before))
