"""Images: the repositories of the registry, and what one of them holds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from aiohttp import web

from lumper.errors import NotFound
from lumper.history.store import History
from lumper.model.image import Image, Tag, is_repository, version_key
from lumper.model.rights import Action
from lumper.web.pages.site import IDENTITY, VIEWERS, Site

_A_PAGE = 500


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

    def __init__(self, site: Site, history: History) -> None:
        self._site = site
        self._history = history

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Serve them."""
        router.add_get("/images", self._site.page(self.all, VIEWERS))
        router.add_get("/images/{name:.+}", self._site.page(self.one, VIEWERS))

    async def all(self, request: web.Request) -> web.Response:
        """All repositories."""
        rights = request[IDENTITY].rights
        images: list[Image] = [
            one for one in await self._history.images.images() if rights.allow(one.name, Action.PULL)
        ]
        return self._site.render(request, "images.html", images=images)

    async def one(self, request: web.Request) -> web.Response:
        """One repository, its tags by digest."""
        name, last = request.match_info["name"], request.query.get("last", "")
        seen = is_repository(name) and request[IDENTITY].rights.allow(name, Action.PULL)
        tags = await self._history.images.tags(name, last=last, limit=_A_PAGE + 1) if seen else None
        if tags is None:
            raise NotFound(f"There is no image {name!r}.", hint="The list of images shows all.")
        rows = []
        for row in versions(tags[:_A_PAGE]):
            manifest = await self._history.images.manifest(name, row.digest)
            rows.append((row, manifest))
        more = tags[_A_PAGE - 1].name if len(tags) > _A_PAGE else ""
        return self._site.render(request, "image.html", name=name, rows=rows, more=more, last=last)
