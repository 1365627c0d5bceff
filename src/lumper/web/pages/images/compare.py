"""What changed from one image of a repository to another: two tags, or what a tag pointed at before and now."""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web

from lumper.errors import NotFound, StorageError
from lumper.line.history import History
from lumper.model.images.image import Manifest
from lumper.registry.inspect.changes import Changes, changes
from lumper.registry.inspect.image import Inspection
from lumper.registry.registry import Registry
from lumper.web.pages.images.names import nothing, reference_of
from lumper.web.pages.site import VIEWERS, Site

_OFFERED = 100  # tags
_LONGEST = 160  # characters of a digest


@dataclass(frozen=True)
class Side:
    """One of the two: how it was named, and what it is; None if nothing is there under that name."""

    name: str
    manifest: Manifest | None
    contents: Inspection


class ComparePages:
    """The handler."""

    def __init__(self, site: Site, history: History, registry: Registry) -> None:
        self._site = site
        self._history = history
        self._registry = registry

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Serve it."""
        router.add_get("/images/{reference:.+}/-/compare", self._site.page(self.show, VIEWERS))

    async def show(self, request: web.Request) -> web.Response:
        """What changed from `a` to `b`, tags or digests; without both of them, a form that asks for them."""
        reference = reference_of(request)
        name = reference.repository
        if reference.tag or reference.digest or not await self._history.catalog.summaries([name]):
            raise nothing(str(request.match_info["reference"]))
        asked = [request.query.get(key, "").replace("\0", "").strip()[:_LONGEST] for key in ("a", "b")]
        sides = [await self._side(name, text) for text in asked] if all(asked) else []
        return self._site.render(
            request,
            "image_compare.html",
            name=name,
            asked=asked,
            sides=sides,
            offered=[tag.name for tag in await self._history.catalog.newest_tags(name, limit=_OFFERED)],
            found=_found(sides),
        )

    async def _side(self, name: str, text: str) -> Side:
        manifest = await self._history.images.resolve(name, text)
        if manifest is None:
            return Side(text, None, Inspection())
        try:
            return Side(text, manifest, await self._registry.inspector.inspect(name, manifest))
        except StorageError as exc:
            raise NotFound(
                f"{name}:{text} cannot be read: {exc.message}", hint="`lumper registry verify` tells more."
            ) from exc


def _found(sides: list[Side]) -> Changes | None:
    """What changed, if both are there."""
    if not sides or any(side.manifest is None for side in sides):
        return None
    return changes(sides[0].contents, sides[1].contents)
