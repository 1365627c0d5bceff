"""Tags moved by people: to another manifest, back to where they were, and away."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lumper.errors import Conflict, Invalid, NotFound, RuleForbids
from lumper.model.images.activity import Activity, Actor, AuditAction
from lumper.model.images.image import PRIVATE_PREFIX, is_digest, is_tag
from lumper.registry.holds import Holds
from lumper.registry.port import Metadata
from lumper.registry.reference import Reference

_STEP = 500  # what is read at once
_SHORT = re.compile(r"(?:sha256|sha512):[0-9a-f]{8,127}")


@dataclass(frozen=True)
class Moved:
    """Where a tag pointed, "" for nowhere, and where it points now."""

    repository: str
    tag: str
    before: str
    digest: str


class Tags:
    """Moves and removes tags. Nothing is copied: the manifest has to be there."""

    def __init__(self, metadata: Metadata, holds: Holds) -> None:
        self._metadata = metadata
        self._holds = holds

    async def history(
        self, reference: Reference, *, after: int = 0, limit: int = 100, without: AuditAction | None = None
    ) -> list[Activity]:
        """What happened to a tag, or in a whole repository, the newest first, on from the activity `after`.

        But for actions of the kind `without`.
        """
        return await self._metadata.activities(
            after=after, limit=limit, repository=reference.repository, tag=reference.tag, without=without
        )

    async def retag(self, reference: Reference, target: str, actor: Actor, *, expected: str | None = None) -> Moved:
        """Let the tag, which need not be there yet, point at a digest, or where another tag of its repository points.

        Of a digest its first eight digits or more are enough, if no other manifest of the repository begins so. Raises
        NotFound, Conflict (it moved in this moment, or points elsewhere than `expected`, "" for nowhere), Invalid,
        RuleForbids.
        """
        _must_have_tag(reference)
        before = await self._pointed(reference) if expected is None else expected
        if not is_digest(target) and _SHORT.fullmatch(target):
            target = await self._whole(reference.repository, target)
        if is_digest(target):
            return await self._point(reference, target, before, actor, "retag")
        other = await self._metadata.tag(reference.repository, target) if is_tag(target) else None
        if other is None or target.startswith(PRIVATE_PREFIX):
            hint = f"`lumper images {reference.repository}` shows its tags."
            raise NotFound(f"The repository {reference.repository} has no tag {target[:300]!r}.", hint=hint)
        return await self._point(reference, other.digest, before, actor, f"retag to {target}")

    async def undo(self, reference: Reference, actor: Actor, *, expected: str | None = None) -> Moved:
        """Let the tag point where it pointed before it last moved, or was removed; once more undoes that.

        Raises NotFound (also if the manifest is gone), Conflict (there is nothing before, or it points elsewhere than
        `expected`, "" for nowhere), Invalid, RuleForbids.
        """
        _must_have_tag(reference)
        last = next(iter(await self.history(reference, limit=1)), None)
        if last is None:
            hint = f"`lumper image history {reference.repository}` shows what is known."
            raise NotFound(f"Nothing is known of the past of {reference}.", hint=hint)
        if expected not in (None, last.digest):
            raise Conflict(f"The tag {reference} has moved meanwhile.", hint="Look at it again.")
        if not last.before:
            hint = f"To remove it: `lumper image delete {reference}`."
            raise Conflict(f"{reference} was nowhere before it was set.", hint=hint)
        return await self._point(reference, last.before, last.digest, actor, "undo")

    async def delete(self, reference: Reference, actor: Actor, *, expected: str | None = None) -> None:
        """Remove a tag, or a manifest with all its tags.

        Raises NotFound, Conflict (the tag points elsewhere than `expected`), Invalid, RuleForbids.
        """
        if reference.digest:
            there = await self._metadata.delete_manifest(reference.repository, reference.digest, actor)
        else:
            _must_have_tag(reference, ", or --everything for all of it")
            there = await self._metadata.delete_tag(reference.repository, reference.tag, actor, expected=expected)
        if not there:
            hint = f"`lumper images {reference.repository}` shows what is there."
            raise NotFound(f"There is no {reference}.", hint=hint)

    async def delete_all(self, repository: str, actor: Actor) -> int:
        """Remove all manifests of a repository with their tags; how many. None of them comes back.

        Raises NotFound; RuleForbids before anything goes, if one of the tags is immutable.
        """
        if why := await self.frozen(repository):
            raise RuleForbids(why, hint="Change the rule first: `lumper registry rules set`.")
        gone = 0
        while found := await self._metadata.digests(repository, "sha", _STEP):
            there = [await self._metadata.delete_manifest(repository, digest, actor) for digest in found]
            gone += sum(there)
            if not any(there):
                break
        if not gone:
            raise NotFound(f"There is no image in {repository}.", hint="`lumper images` shows all repositories.")
        return gone

    async def frozen(self, repository: str) -> str:
        """Why not all of a repository may go: one of its tags is immutable; "" if none is."""
        rule, last = (await self._metadata.rules()).freezing(repository), ""
        while rule and (tags := await self._metadata.tags(repository, last=last, limit=_STEP)):
            if frozen := next((tag.name for tag in tags if rule.freezes(tag.name)), ""):
                return f"The tag {repository}:{frozen} is immutable by the rule for {rule.repositories}."
            last = tags[-1].name
        return ""

    async def _whole(self, repository: str, beginning: str) -> str:
        found = await self._metadata.digests(repository, beginning, 2)
        if len(found) == 1:
            return found[0]
        if found:
            raise Conflict(f"More than one manifest of {repository} begins with {beginning}.", hint="Give more of it.")
        hint = f"`lumper image history {repository}` shows what its tags have pointed at."
        raise NotFound(f"The repository {repository} has no manifest {beginning}….", hint=hint)

    async def _pointed(self, reference: Reference) -> str:
        tag = await self._metadata.tag(reference.repository, reference.tag)
        return tag.digest if tag else ""

    async def _point(self, reference: Reference, digest: str, before: str, actor: Actor, detail: str) -> Moved:
        async with self._holds.using(reference.repository, [digest]):
            await self._metadata.point_tag(
                reference.repository, reference.tag, digest, actor, expected=before, detail=detail
            )
        return Moved(reference.repository, reference.tag, before, digest)


def _must_have_tag(reference: Reference, instead: str = "") -> None:
    if not reference.tag:
        raise Invalid(f"{reference.repository} is a whole repository.", hint=f"Name the tag: REPOSITORY:TAG{instead}.")
