"""The ports of the registry: where bytes lie (Storage) and what is known of them (Metadata).

Metadata are one adapter with one contract; whoever needs a part of them asks for that part only.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol

from lumper.model.images.activity import SERVER, Activity, Actor, AuditAction
from lumper.model.images.garbage import Garbage, Sweep
from lumper.model.images.image import (
    Image,
    Link,
    Manifest,
    Name,
    NewManifest,
    Referrer,
    Rename,
    Restored,
    Tag,
    TagState,
)
from lumper.model.images.rules import Rule, Rules
from lumper.registry.storage_port import Pourable, Storage, StoredBlob

__all__ = ["Alone", "Metadata", "Pourable", "Storage", "StoredBlob"]

Alone = Callable[[str], AbstractAsyncContextManager[bool]]
"""Whether the block is the only one with this name at the moment, in all processes that share the registry."""


class BlobMetadata(Protocol):
    """Which blobs each repository may serve."""

    async def link_blob(self, repository: str, digest: str, size: int) -> None:
        """From now on `repository` (made if need be) may serve this blob."""

    async def has_blob(self, repository: str, digest: str) -> bool:
        """Whether `repository` may serve this blob."""

    def remembers_blob(self, repository: str, digest: str) -> bool:
        """Whether it is in memory that `repository` may serve this blob; if not, ask `has_blob`."""

    async def repositories_with(self, digest: str, *, limit: int = 100) -> list[str]:
        """At most `limit` names of repositories that may serve this blob, in lexical order."""

    async def unlink_blob(self, repository: str, digest: str) -> bool:
        """`repository` no longer serves this blob; whether it did."""


class ManifestMetadata(Protocol):
    """Which manifests each repository has, and where its tags point.

    Whatever moves or removes a tag, or removes what a tag needs, raises RuleForbids if a rule makes that tag immutable.
    """

    async def missing(self, repository: str, links: Sequence[Link]) -> list[Link]:
        """Those of the links that `repository` may not serve."""

    async def put_manifest(
        self,
        repository: str,
        manifest: NewManifest,
        tags: Sequence[str],
        actor: Actor = SERVER,
        *,
        expected: str | None = None,
    ) -> None:
        """Make the manifest known and let the tags point at it, in one transaction, which also tells who did so.

        Raises Conflict if one of the tags points elsewhere than at `expected`, as for `point_tag`. The activities are a
        push, and one for each tag that points elsewhere than before. A push under private tags only is not told.
        """

    async def touch(self, repository: str, digest: str, tags: Sequence[str] = ()) -> None:
        """The manifest, and those of the tags that are there, are in use: as young as if they were pushed now."""

    async def manifest(self, repository: str, digest: str) -> Manifest | None:
        """The manifest, if this repository has it."""

    async def digests(self, repository: str, beginning: str, limit: int) -> list[str]:
        """At most `limit` digests of manifests that begin so, in the order of their bytes."""

    def remembered_manifest(self, repository: str, digest: str) -> Manifest | None:
        """The manifest, if it is in memory; None: ask `manifest`."""

    async def delete_manifest(self, repository: str, digest: str, actor: Actor = SERVER) -> bool:
        """Remove a manifest and the tags that point at it; whether it was there. It is told who did so, of each."""

    async def tag(self, repository: str, name: str) -> Tag | None:
        """The tag, or None."""

    def remembered_tag(self, repository: str, name: str) -> Tag | None:
        """The tag, if it is in memory; None: ask `tag`."""

    async def point_tag(
        self, repository: str, name: str, digest: str, actor: Actor, *, expected: str | None = None, detail: str = ""
    ) -> None:
        """Let a tag point at a manifest that is there, if it points at `expected` ("": nowhere; None: anywhere) now.

        Raises NotFound, Conflict, RuleForbids.
        """

    async def delete_tag(
        self, repository: str, name: str, actor: Actor = SERVER, *, expected: str | None = None
    ) -> bool:
        """Remove a tag; whether it was there. It is told who did so, except of private tags.

        Raises Conflict if it points elsewhere than at `expected`, as for `point_tag`.
        """


class ListingMetadata(Protocol):
    """What there is, page by page."""

    async def tags(self, repository: str, *, last: str = "", limit: int = 100) -> list[Tag] | None:
        """At most `limit` tags after `last` in lexical order, without build-private ones; None: no such repository."""

    async def repositories(self, *, last: str = "", limit: int = 100, holding: bool = False) -> list[str]:
        """At most `limit` names of repositories after `last` in lexical order; `holding`: that have a manifest."""

    async def images(self) -> list[Image]:
        """All repositories that have a manifest, with the number of tags and the bytes that they hold."""

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
        """Manifests with this subject, whose digest comes after `last` in lexical order, and whether more follow.

        With `artifact_types` only those of one of these types. At most `limit`, and after the first one only as many
        as have `most_bytes` together, for each may have annotations of megabytes.
        """


class ActivityMetadata(Protocol):
    """Who did what."""

    async def activities(
        self,
        *,
        after: int = 0,
        limit: int = 100,
        oldest_first: bool = False,
        repository: str = "",
        tag: str = "",
        actor: str = "",
        action: AuditAction | None = None,
        without: AuditAction | None = None,
    ) -> list[Activity]:
        """The newest activities first, or the oldest; those after the one with the id `after` in that order, 0 for all.

        Only those of this repository, tag, actor's name, and action, and not of the one `without`, as far as these are
        given.
        """

    async def forget_activities(self, before: datetime) -> int:
        """Forget the activities that are older; how many."""


class RuleMetadata(Protocol):
    """The rules for repositories."""

    async def rules(self) -> Rules:
        """All rules for repositories, the most specific first."""

    async def set_rule(self, rule: Rule, actor: Actor) -> None:
        """Make the rule, or the one of the same glob be this from now on."""

    async def remove_rule(self, repositories: str, actor: Actor) -> None:
        """Remove the rule of this glob. Raises NotFound."""


class RetentionMetadata(Protocol):
    """The state of tags, and their end."""

    async def tag_states(
        self,
        repository: str,
        *,
        after: tuple[str, str] = ("", ""),
        among: Sequence[str] | None = None,
        pulls: bool = True,
        limit: int = 500,
    ) -> list[TagState]:
        """At most `limit` public tags after this digest and name, in this order, with the last pull if `pulls`.

        Only those that point at one of at most 600 digests `among`, if these are given.
        """

    async def states_of(self, repository: str, names: Sequence[str]) -> list[TagState]:
        """Those of at most 600 public tags that are there, in lexical order, without the last pull."""

    async def pulled(self, pulls: Mapping[tuple[str, str], datetime]) -> None:
        """When manifests were pulled last, by repository and digest. What is not there is passed over."""

    async def in_use(self) -> dict[str, str]:
        """The digests that are in use, with the reason: they run, are about to, or are a project's newest build."""

    async def retire(self, repository: str, states: Sequence[TagState], why: str) -> list[str]:
        """Remove those of the tags that are still as they were, neither immutable nor needed; their names.

        A manifest that loses its last tag by this is given up: it is garbage once nothing needs it.
        """


class UsageMetadata(Protocol):
    """How much space repositories take."""

    async def usage(self, repositories: str, without: Collection[str] = ()) -> int:
        """The bytes that the repositories fitting this glob hold; what several of them hold counts once.

        Those of the digests `without` do not count.
        """

    async def holds(self, repositories: str, digest: str) -> bool:
        """Whether one of the repositories fitting this glob has this blob or manifest."""


class GarbageMetadata(Protocol):
    """What nothing needs any more. Tags that a rule makes immutable are not touched."""

    async def garbage(self, repository: str, sweep: Sweep, limit: int = 500) -> list[Garbage]:
        """What `repository` need not keep: at most `limit` of each kind.

        - A private tag of a build that has ended or is forgotten.
        - A manifest without a tag, that is neither the child of another one nor the referrer of a subject that is
          there, and whose digest no build and no rollout has: if only a build's private tag ever held it, or, with
          `untagged`, in any case. One that retention gave up goes too, unless it is `needed`.
        - The link to a blob that no manifest of the repository refers to.

        What goes makes more of it garbage, but not before it was left alone for as long again.
        """

    async def restless(self, sweep: Sweep, last: str = "", limit: int = 100) -> list[str]:
        """At most `limit` repositories after `last` in which `garbage` may find something."""

    async def collect(self, repository: str, garbage: Sequence[Garbage], sweep: Sweep) -> list[Garbage]:
        """Remove what is still garbage, judged again in the transaction that removes it; what was removed."""

    async def idle_blobs(
        self, before: datetime, *, after: str = "", limit: int = 500, since: datetime | None = None
    ) -> list[tuple[str, int]]:
        """Digest and size of what is in the storage for no repository any more, neither as a blob nor as a manifest.

        At most `limit` whose digest comes after `after`, and that nobody stored or gave up since `before`. With `since`
        only what was stored or given up after that.
        """

    async def claim_blobs(self, digests: Sequence[str], before: datetime, seconds: float) -> set[str]:
        """Those of these that are idle now, and that no process needs.

        For so many seconds, or until `forget_blobs`, no process will rely on one of them.
        """

    async def need(self, repository: str, digests: Collection[str], seconds: float) -> set[str]:
        """Where several processes share the metadata: for so many seconds no collector takes these, in any repository.

        Returns those that a collector has claimed already: they are not protected. What is asked about `repository`
        afterwards is answered by the database, not from memory.
        """

    async def forget_blobs(self, digests: Sequence[str], before: datetime) -> None:
        """These are no longer in the storage. Those that are not idle (any more) stay known."""


class StoredMetadata(Protocol):
    """What is known to be in the storage, and what is wrong with that."""

    async def adopt_blobs(self, found: Sequence[tuple[str, int, datetime]]) -> int:
        """Digest, size and time of blobs in the storage: from now on none of them is unknown; how many were."""

    async def known_blobs(self, after: str = "", until: str = "") -> dict[str, tuple[int, bool]]:
        """What is in the storage after `after` and up to, with, `until` ("": all): its size, and if it is needed."""

    async def flaws(self, repository: str, limit: int = 1000) -> list[tuple[str, str]]:
        """What `repository` refers to and does not have: at most `limit` tags and digests of each kind, with words."""


class NameMetadata(Protocol):
    """What the storage repeats of the metadata, and how they are made anew from that."""

    async def known_names(self, repository: str, references: Sequence[str]) -> dict[str, str]:
        """What these digests and tags of `repository` are: the media type, or the digest; without those unknown."""

    async def names(self, repository: str, *, last: str = "", limit: int = 500) -> list[Name]:
        """At most `limit` manifests and public tags whose reference comes after `last` in lexical order."""

    async def restore(self, repository: str, found: Sequence[Restored], *, abandoned: bool = False) -> int:
        """Make known manifests and the right to serve their blobs; how many were not.

        What is known stays as it is, and what has a rename is left alone. `abandoned`: nothing but a tag, an index or
        a subject keeps them.
        """

    async def restore_tags(self, repository: str, tags: Sequence[Tag]) -> list[str]:
        """Make those tags that are not there and have no rename, of manifests that are there; their names."""

    async def renames(self, after: int = 0, limit: int = 500) -> list[Rename]:
        """At most `limit` names of which the storage is to hear, with a number larger than `after`, in order."""

    async def rename(self, repository: str, references: Sequence[str]) -> None:
        """Treat these names of `repository` as if they had changed."""

    async def rename_all(self) -> None:
        """Treat every name as if it had changed."""

    async def renamed(self, numbers: Sequence[int]) -> None:
        """The storage has heard of these."""


class Metadata(
    BlobMetadata,
    ManifestMetadata,
    ListingMetadata,
    ActivityMetadata,
    RuleMetadata,
    RetentionMetadata,
    UsageMetadata,
    GarbageMetadata,
    StoredMetadata,
    NameMetadata,
    Protocol,
):
    """All that the registry knows, in one database, so that one transaction holds it together. Durable on return."""
