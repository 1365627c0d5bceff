"""The API's view of the registry's repositories. tags.py moves and removes what is in them."""

from __future__ import annotations

from typing import Any

from aiohttp import web
from pydantic import BaseModel

from lumper.errors import NotFound
from lumper.line.history import History
from lumper.model.images.image import Image, Tag, beside
from lumper.model.links import Links
from lumper.model.people.people import GRANTED, PEOPLE
from lumper.model.people.rights import Action
from lumper.web.api.answers import answer
from lumper.web.api.guard import Guard, identity_of
from lumper.web.api.openapi import describe, like
from lumper.web.api.schemas import MOST

ShownTag: Any = like(Tag, "Tag", size=int)


class ImageWithTags(BaseModel):
    """A repository: how it is pulled, and its tags; `next` is the one `after` which there are more, if it has any."""

    name: str
    pull: str
    tags: list[ShownTag]
    next: str


class ImageRoutes:
    """The handlers."""

    def __init__(self, history: History, links: Links) -> None:
        self._history = history
        self._links = links

    @describe(list[Image])
    async def list_images(self, request: web.Request) -> web.Response:
        """All repositories of the registry that may be pulled, but for those in which nothing is left."""
        rights, known = identity_of(request).rights, await self._history.images.images()
        return answer([one for one in known if rights.allow(one.name, Action.PULL)])

    @describe(ImageWithTags, query={"after": str})
    async def show_image(self, request: web.Request) -> web.Response:
        """One repository with its tags, at most 1000, without those that only say something of an image: signatures."""
        name = request.match_info["name"]
        seen = identity_of(request).rights.allow(name, Action.PULL)
        last = request.query.get("after", "")
        tags = await self._history.images.tags(name, last=last, limit=MOST) if seen else None
        if tags is None:
            raise NotFound(f"There is no image {name!r}.", hint="`lumper images` shows all.")
        rows = []
        for tag in tags:
            if beside(tag.name):
                continue
            manifest = await self._history.images.manifest(name, tag.digest)
            rows.append({**vars(tag), "size": manifest.total if manifest else 0})
        more = tags[-1].name if len(tags) == MOST else ""
        return answer({"name": name, "pull": f"{self._links.registry}/{name}", "tags": rows, "next": more})


def add_routes(app: web.Application, guard: Guard, history: History, links: Links) -> None:
    """Serve the part of the API about images."""
    images, viewers = ImageRoutes(history, links), (*PEOPLE, *GRANTED)
    app.router.add_get("/api/v1/images", guard.allowed(images.list_images, *viewers), allow_head=False)
    app.router.add_get("/api/v1/images/{name:.+}", guard.allowed(images.show_image, *viewers), allow_head=False)
