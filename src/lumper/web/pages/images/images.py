"""Images: the repositories of the registry, what one of them holds, and one image."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from lumper.line.history import History
from lumper.model.people.rights import Action, Rights
from lumper.registry.catalog.catalog import Rank, RepositorySummary
from lumper.registry.registry import Registry
from lumper.web.pages.images.image import ImagePage
from lumper.web.pages.images.names import reference_of
from lumper.web.pages.images.repository import RepositoryPage
from lumper.web.pages.site import IDENTITY, VIEWERS, Site

_REPOSITORIES = 50  # of a page
_SORTED = 1000  # repositories whose figures are read to sort them
_READ = 1000  # names that are looked at together


class ImagePages:
    """The handlers."""

    def __init__(self, site: Site, history: History, registry: Registry) -> None:
        self._site = site
        self._history = history
        self._registry = registry
        self._image = ImagePage(site, history, registry)
        self._repository = RepositoryPage(site, history, registry)

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Serve them."""
        router.add_get("/images", self._site.page(self.all, VIEWERS))
        router.add_get("/images/{reference:.+}", self._site.page(self.one, VIEWERS))

    async def all(self, request: web.Request) -> web.Response:
        """The repositories that they may pull, those whose name has a text in it if that is asked for."""
        wanted, last = (request.query.get(key, "").replace("\0", "")[:255] for key in ("q", "last"))
        text, rights = wanted.strip().lower(), request[IDENTITY].rights
        rank = _rank(request.query.get("by", "")) if not last else None
        names = await self._names(text, last, rights, _SORTED if rank else _REPOSITORIES)
        too_many = bool(rank) and len(names) > _SORTED
        images = await (self._sorted(names, rank) if rank and not too_many else self._summaries(names))
        shown, more = [one.name for one in images], len(names) > _REPOSITORIES
        upstreams = self._registry.upstreams
        mirrors = {name: found.registry.url for name in shown if upstreams and (found := upstreams.of(name))}
        return self._site.render(
            request,
            "images.html",
            images=images,
            mirrors=mirrors,
            wanted=wanted,
            last=last,
            more=names[_REPOSITORIES - 1] if more and (too_many or not rank) else "",
            rank="" if too_many else rank or "",
            rest=len(names) - len(images) if rank and not too_many else 0,
            too_many=too_many and _SORTED,
        )

    async def _summaries(self, names: Sequence[str]) -> list[RepositorySummary]:
        return await self._history.catalog.summaries(names[:_REPOSITORIES])

    async def _sorted(self, names: Sequence[str], rank: Rank) -> list[RepositorySummary]:
        first = await self._history.catalog.first(names, rank, limit=_REPOSITORIES)
        held = {one.name: one for one in await self._summaries(first)}
        return [held[name] for name in first if name in held]

    async def _names(self, wanted: str, last: str, rights: Rights, most: int) -> list[str]:
        names: list[str] = []
        found = [last]
        while found and len(names) <= most:
            found = await self._history.images.repositories(last=found[-1], limit=_READ, holding=True)
            names += [name for name in found if wanted in name and rights.allow(name, Action.PULL)]
        return names[: most + 1]

    async def one(self, request: web.Request) -> web.Response:
        """One repository, or one image of it."""
        reference = reference_of(request)
        if reference.tag or reference.digest:
            return await self._image.show(request, reference)
        return await self._repository.show(request, reference.repository)


def _rank(text: str) -> Rank | None:
    return Rank(text) if text in [*Rank] else None
