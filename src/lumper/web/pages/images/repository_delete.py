"""A whole repository deleted, after a look at what goes."""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web

from lumper.errors import Conflict, Forbidden, Invalid
from lumper.line.history import History
from lumper.model.people.people import PEOPLE
from lumper.model.people.rights import Action
from lumper.registry.catalog.catalog import RepositorySummary
from lumper.registry.registry import Registry
from lumper.web.auth.authenticator import actor_of
from lumper.web.pages.images.names import nothing, reference_of
from lumper.web.pages.site import IDENTITY, VIEWERS, Site
from lumper.web.small_bodies import form_of

_MOST = 1000  # manifests that are counted
_A_LOOK = 100  # digests that are looked for at once


@dataclass(frozen=True)
class Emptying:
    """What would go, and why it may not: `refused` is "" if it may. `seen` is the newest that is known of it."""

    held: RepositorySummary
    manifests: int
    more: bool
    refused: str
    seen: str


class RepositoryDelete:
    """The handlers."""

    def __init__(self, site: Site, history: History, registry: Registry) -> None:
        self._site = site
        self._history = history
        self._registry = registry

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Serve them. Goes before what serves `/images/{reference:.+}/-/delete`."""
        whole = "/images/{reference:[^:@]+}/-/delete"
        router.add_get(whole, self._site.page(self.ask, VIEWERS))
        router.add_post(whole, self._site.page(self.delete, VIEWERS))

    async def ask(self, request: web.Request) -> web.Response:
        """What goes with the repository, before it goes."""
        name = self._name(request)
        return self._site.render(
            request,
            "repository_delete.html",
            name=name,
            emptying=await self._emptying(request, name),
            upstream=self._registry.upstreams.of(name) if self._registry.upstreams else None,
        )

    async def delete(self, request: web.Request) -> web.StreamResponse:
        """Remove all that it holds, if its name was typed and nothing has happened there since the page was shown."""
        name, form = self._name(request), await form_of(request)
        emptying = await self._emptying(request, name)
        if form.get("name", "").strip() != name:
            raise Invalid(f"{name} was not deleted.", hint="Type the name of the repository.")
        if form.get("seen", "") != emptying.seen:
            raise Conflict(f"Something has happened in {name} since you saw it.", hint="Look at it again.")
        if emptying.refused:
            raise Forbidden(emptying.refused)
        await self._registry.tags.delete_all(name, actor_of(request[IDENTITY], request))
        raise web.HTTPSeeOther("/images")

    def _name(self, request: web.Request) -> str:
        reference = reference_of(request, Action.DELETE)
        if reference.tag or reference.digest:
            raise nothing(str(reference))
        return reference.repository

    async def _emptying(self, request: web.Request, name: str) -> Emptying:
        held = next(iter(await self._history.catalog.summaries([name])), None)
        digests = await self._registry.metadata.digests(name, "sha", _MOST + 1)
        if held is None or not digests:
            raise nothing(name)
        last = await self._history.activity.activities(repository=name, limit=1)
        refused = await self._registry.tags.frozen(name) or await self._used(request, name)
        seen = str(last[0].id) if last else ""
        return Emptying(held, min(len(digests), _MOST), len(digests) > _MOST, refused, seen)

    async def _used(self, request: web.Request, name: str) -> str:
        """Why one of its images is in use. Users are not told of hosts."""
        in_use = await self._registry.metadata.in_use()
        digests = [*in_use]
        for at in range(0, len(digests), _A_LOOK):
            if known := await self._history.catalog.known(name, digests[at : at + _A_LOOK]):
                digest = min(known)
                people = request[IDENTITY].role in PEOPLE
                why = in_use[digest] if people else "it runs, or is what its project built last"
                return f"The image {name}@{digest} is in use: {why}."
        return ""
