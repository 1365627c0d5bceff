"""Images: the repositories of the registry, what one of them holds, and one image."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from aiohttp import web

from lumper.history.store import History
from lumper.model.image import PRIVATE_PREFIX, Tag, beside, version_key
from lumper.model.people import PEOPLE
from lumper.model.rights import Action, Rights
from lumper.model.rules import Rule, words
from lumper.registry.registry import Registry
from lumper.web.pages.formats import size
from lumper.web.pages.image import ImagePage
from lumper.web.pages.image_names import nothing, reference_of
from lumper.web.pages.site import IDENTITY, VIEWERS, Site

_REPOSITORIES = 50  # of a page
_TAGS = 100  # of a page
_READ = 1000  # names that are looked at together


@dataclass(frozen=True)
class Version:
    """All tags that point at one digest, the longest (most exact) first."""

    digest: str
    tags: tuple[str, ...]
    updated_at: datetime
    build_id: int | None


def versions(tags: Iterable[Tag]) -> list[Version]:
    """The tags by digest, the newest first."""
    groups: dict[str, list[Tag]] = {}
    for tag in tags:
        groups.setdefault(tag.digest, []).append(tag)
    found = [_version(digest, group) for digest, group in groups.items()]
    return sorted(found, key=lambda version: version.updated_at, reverse=True)


def _version(digest: str, tags: list[Tag]) -> Version:
    names = sorted(
        (tag.name for tag in tags), key=lambda name: (name == "latest", version_key(name) is None, -len(name))
    )
    newest = max(tags, key=lambda tag: tag.updated_at)
    return Version(digest, tuple(names), newest.updated_at, newest.build_id)


class ImagePages:
    """The handlers."""

    def __init__(self, site: Site, history: History, registry: Registry) -> None:
        self._site = site
        self._history = history
        self._registry = registry
        self._image = ImagePage(site, history, registry)

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Serve them."""
        router.add_get("/images", self._site.page(self.all, VIEWERS))
        router.add_get("/images/{reference:.+}", self._site.page(self.one, VIEWERS))

    async def all(self, request: web.Request) -> web.Response:
        """The repositories that they may pull, those whose name has a text in it if that is asked for."""
        wanted, last = (request.query.get(key, "").replace("\0", "")[:255] for key in ("q", "last"))
        names = await self._names(wanted.strip().lower(), last, request[IDENTITY].rights)
        images = await self._history.shown.held(names[:_REPOSITORIES])
        upstreams = self._registry.upstreams
        mirrors = {name: found.registry.url for name in names if upstreams and (found := upstreams.of(name))}
        more = names[_REPOSITORIES - 1] if len(names) > _REPOSITORIES else ""
        return self._site.render(
            request, "images.html", images=images, mirrors=mirrors, wanted=wanted, last=last, more=more
        )

    async def _names(self, wanted: str, last: str, rights: Rights) -> list[str]:
        names: list[str] = []
        found = [last]
        while found and len(names) <= _REPOSITORIES:
            found = await self._history.images.repositories(last=found[-1], limit=_READ)
            names += [name for name in found if wanted in name and rights.allow(name, Action.PULL)]
        return names[: _REPOSITORIES + 1]

    async def one(self, request: web.Request) -> web.Response:
        """One repository, or one image of it."""
        reference = reference_of(request)
        if reference.tag or reference.digest:
            return await self._image.show(request, reference)
        return await self._repository(request, reference.repository)

    async def _repository(self, request: web.Request, name: str) -> web.Response:
        """Its tags by digest, page by page, or those that begin with a text."""
        wanted, last = (request.query.get(key, "").replace("\0", "")[:128] for key in ("q", "last"))
        tags = await self._tags(name, wanted.strip(), last)
        rows = versions(tag for tag in tags[:_TAGS] if not beside(tag.name))
        moves = await self._history.shown.last_moves(name, [row.tags[0] for row in rows])
        shown = [(row, await self._history.images.manifest(name, row.digest), moves.get(row.tags[0])) for row in rows]
        upstream = self._registry.upstreams.of(name) if self._registry.upstreams else None
        return self._site.render(
            request,
            "repository.html",
            name=name,
            rows=shown,
            more=tags[_TAGS - 1].name if len(tags) > _TAGS else "",
            last=last,
            wanted=wanted,
            upstream=upstream,
            rules=await self._rules(name),
            admin=request[IDENTITY].role in PEOPLE,
        )

    async def _tags(self, name: str, wanted: str, last: str) -> list[Tag]:
        images = self._history.images
        found = await images.tags(name, last=max(last, wanted), limit=_TAGS + 1)
        if found is None:
            raise nothing(name)
        if not wanted:
            return found
        exact = await images.tag(name, wanted) if not last and not wanted.startswith(PRIVATE_PREFIX) else None
        return [*([exact] if exact else []), *(tag for tag in found if tag.name.startswith(wanted))]

    async def _rules(self, name: str) -> Sequence[str]:
        """What holds for the repository, in words."""
        rules = await self._registry.metadata.rules()
        said = {rule.repositories: rule for rule in (rules.freezing(name), rules.keeping(name)) if rule}
        said |= {rule.repositories: rule for rule in rules.limiting(name)}
        return [f"{glob}: {'; '.join(_words(rule))}" for glob, rule in said.items()]


def _words(rule: Rule) -> list[str]:
    return words(replace(rule, quota=0)) + ([f"at most {size(rule.quota)}"] if rule.quota else [])
