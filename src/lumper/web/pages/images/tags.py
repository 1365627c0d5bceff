"""The past of tags, and what changes them: moving back, and removing, after a look at what goes with it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from urllib.parse import urlencode

from aiohttp import web

from lumper.errors import Conflict, Forbidden, Invalid
from lumper.line.history import History
from lumper.model.images.activity import AuditAction
from lumper.model.images.image import Manifest, is_digest
from lumper.model.people.people import PEOPLE
from lumper.model.people.rights import Action
from lumper.registry.reference import Reference, parse_reference
from lumper.registry.registry import Registry
from lumper.web.auth.authenticator import actor_of
from lumper.web.pages.builds import number
from lumper.web.pages.images.names import allowed, nothing, page_of, reference_of
from lumper.web.pages.site import IDENTITY, VIEWERS, Site
from lumper.web.small_bodies import form_of

_A_PAGE = 50
_MOST = 100  # tags and referrers that are named


@dataclass(frozen=True)
class Removal:
    """What would go, and why it may not: `refused` is "" if it may. `tags` are those that point at the image.

    `orphans` is the number of referrers, at least, that would refer to nothing; `used` why the image is in use.
    """

    reference: Reference
    manifest: Manifest
    tags: tuple[str, ...]
    orphans: int
    used: str
    refused: str

    @property
    def seen(self) -> str:
        """What must be the same when it goes: where the tag points, or which tags go with the image."""
        if self.reference.tag:
            return self.manifest.digest
        return hashlib.sha256("\n".join(self.tags).encode()).hexdigest()


class TagPages:
    """The handlers."""

    def __init__(self, site: Site, history: History, registry: Registry) -> None:
        self._site = site
        self._history = history
        self._registry = registry

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Serve them."""
        page, one = self._site.page, "/images/{reference:.+}/-"
        router.add_get(f"{one}/history", page(self.past, VIEWERS))
        router.add_get(f"{one}/delete", page(self.ask, VIEWERS))
        router.add_post(f"{one}/delete", page(self.delete, VIEWERS))
        router.add_post(f"{one}/move", page(self.move, VIEWERS))
        router.add_get(f"{one}/tag", page(self.offer, VIEWERS))

    async def past(self, request: web.Request) -> web.Response:
        """Who did what in a repository, or to one of its tags, the newest first.

        Who else may do something there is for those who grant it.
        """
        repository, tag = reference_of(request).repository, request.query.get("tag", "").replace("\0", "")[:128]
        after = number(request, "after") or 0
        if await self._history.images.tags(repository, limit=1) is None:
            raise nothing(repository)
        following, people = {"tag": tag} if tag else {}, request[IDENTITY].role in PEOPLE
        rows = await self._history.activity.activities(
            repository=repository,
            tag=tag,
            after=after,
            limit=_A_PAGE + 1,
            without=None if people else AuditAction.GRANT,
        )
        pointed = await self._history.images.tag(repository, tag) if tag else None
        older = urlencode({**following, "after": rows[_A_PAGE - 1].id}) if len(rows) > _A_PAGE else ""
        return self._site.render(
            request,
            "image_history.html",
            name=repository,
            tag=tag,
            now=pointed.digest if pointed else "",
            rows=rows[:_A_PAGE],
            after=after,
            older=older,
            first=urlencode(following),
            may_push=allowed(request, repository, Action.PUSH),
            admin=people,
        )

    async def move(self, request: web.Request) -> web.StreamResponse:
        """Undo a tag's last move, or let it point `to` a digest, if it still points where the page said so."""
        reference, form = reference_of(request, Action.PUSH), await form_of(request)
        tagging, actor, to = self._registry.tags, actor_of(request[IDENTITY], request), form.get("to", "")
        if not reference.tag or not (is_digest(to) or "undo" in form):
            raise Invalid("Say which tag moves, and to which digest.")
        seen = form.get("seen", "")
        if "undo" in form:
            await tagging.undo(reference, actor, expected=seen)
        else:
            await tagging.retag(reference, to, actor, expected=seen)
        raise web.HTTPSeeOther(f"{page_of(reference.repository)}/-/history?{urlencode({'tag': reference.tag})}")

    async def offer(self, request: web.Request) -> web.Response:
        """What it means to let a tag point at an image, before it does."""
        image, text = reference_of(request, Action.PUSH), request.query.get("tag", "").strip()[:200]
        reference = parse_reference(f"{image.repository}:{text}")
        manifest = await self._history.images.resolve(image.repository, image.digest or image.tag)
        if manifest is None:
            raise nothing(str(image))
        to = manifest.digest
        tag = await self._history.images.tag(image.repository, reference.tag)
        now = tag.digest if tag else ""
        return self._site.render(
            request,
            "image_tag.html",
            reference=reference,
            to=to,
            now=now,
            since=tag.updated_at if tag else None,
            refused=await self._frozen(reference, []) if now and now != to else "",
            kept=await self._frozen(reference, []) if not now else "",
        )

    async def ask(self, request: web.Request) -> web.Response:
        """What goes with the tag or the image, before it goes."""
        removal = await self._removal(request)
        space = await self._history.catalog.space(removal.reference.repository, removal.manifest.digest)
        return self._site.render(
            request, "image_delete.html", removal=removal, reference=removal.reference, space=space
        )

    async def delete(self, request: web.Request) -> web.StreamResponse:
        """Remove it, unless the tag has moved since, the image has other tags, or something has come to need it."""
        form = await form_of(request)  # first: it may come slowly, and what is looked at now counts
        removal = await self._removal(request)
        reference, seen = removal.reference, form.get("seen", "")
        if removal.refused:
            raise Forbidden(removal.refused)
        if reference.digest and seen != removal.seen:
            raise Conflict(f"The tags of {reference} are others than you saw.", hint="Look at it again.")
        await self._registry.tags.delete(reference, actor_of(request[IDENTITY], request), expected=seen)
        raise web.HTTPSeeOther(
            f"{page_of(reference.repository)}/-/history?{urlencode({'tag': reference.tag})}"
            if reference.tag
            else page_of(reference.repository)
        )

    async def _removal(self, request: web.Request) -> Removal:
        reference = reference_of(request, Action.DELETE)
        repository, images = reference.repository, self._history.images
        manifest = await images.resolve(repository, reference.digest or reference.tag)
        if manifest is None:
            raise nothing(str(reference))
        digest = manifest.digest
        tags = await self._history.catalog.tags_at(repository, digest, limit=_MOST)
        referrers, _ = await images.referrers(repository, digest, limit=_MOST, most_bytes=1 << 20)
        used = await self._used(request, repository, manifest)
        refused = await self._frozen(reference, tags)
        if not refused and reference.digest:
            refused = await self._needed(repository, digest, used)
        return Removal(reference, manifest, tuple(tags), len(referrers), used, refused)

    async def _used(self, request: web.Request, repository: str, manifest: Manifest) -> str:
        """Why the image, or a part of it, is in use. Users are not told of hosts."""
        in_use = await self._registry.metadata.in_use()
        parts = [manifest.digest, *await self._history.catalog.children(repository, manifest.digest)]
        why = next((in_use[digest] for digest in parts if digest in in_use), "")
        return why if not why or request[IDENTITY].role in PEOPLE else "it runs, or is what its project built last"

    async def _frozen(self, reference: Reference, tags: list[str]) -> str:
        rule = (await self._registry.metadata.rules()).freezing(reference.repository)
        names = [reference.tag] if reference.tag else tags
        frozen = next((name for name in names if rule and rule.freezes(name)), "")
        return f"The tag {frozen} is immutable by the rule for {rule.repositories}." if rule and frozen else ""

    async def _needed(self, repository: str, digest: str, used: str) -> str:
        """Why the image itself stays."""
        if used:
            return f"The image is in use: {used}."
        part = await self._history.catalog.part_of(repository, digest)
        return f"{part} Delete that first." if part else ""
