"""Projects: what is built, and how a forge is told to tell of it."""

from __future__ import annotations

from aiohttp import web
from yarl import URL

from lumper.errors import Conflict, Invalid, SourceRefused, StorageError
from lumper.forges.all import Forges
from lumper.forges.guide import post_receive
from lumper.line.history import History
from lumper.model.source import parse_git_url
from lumper.web.pages.site import Site
from lumper.web.ports import ForgeConnections
from lumper.web.small_bodies import form_of

_RECENT = 20


class ProjectPages:
    """The handlers."""

    def __init__(self, site: Site, history: History, desk: ForgeConnections, forges: Forges) -> None:
        self._site = site
        self._history = history
        self._desk = desk
        self._forges = forges

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Serve them."""
        router.add_get("/projects", self._site.page(self.all))
        router.add_post("/projects", self._site.page(self.add))
        router.add_get("/projects/{name:.+}", self._site.page(self.one))

    async def all(self, request: web.Request, *, url: str = "", error: str = "", hint: str = "") -> web.Response:
        """All projects with their newest build, and the form to add one, with what is wrong with the last one."""
        projects = await self._history.projects.all()
        newest = {}
        for build in reversed(await self._history.builds.newest(limit=500)):
            if not build.verifies:
                newest[build.project] = build
        return self._site.render(
            request,
            "projects.html",
            status=400 if error else 200,
            projects=projects,
            newest=newest,
            url=url,
            error=error,
            hint=hint,
        )

    async def add(self, request: web.Request) -> web.StreamResponse:
        """Add a project and show what to do at the forge."""
        url = (await form_of(request)).get("url", "").strip()
        try:
            source = parse_git_url(url)
            if source.local:
                raise SourceRefused(
                    "A path on the server is not taken from a page.",
                    hint=f"On the server itself: lumper project add --allow-local {source.url}",
                )
            project = await self._history.projects.add(source)
        except (SourceRefused, Invalid, Conflict) as exc:
            return await self.all(request, url=url, error=exc.message, hint=exc.hint)
        raise web.HTTPSeeOther(URL.build(path=f"/projects/{project.name}"))

    async def one(self, request: web.Request) -> web.Response:
        """One project: its webhook, its deliveries, its builds. With `look=1` its forge is asked for the webhook."""
        project = await self._history.projects.get(request.match_info["name"])
        look = request.query.get("look") == "1" and bool(project.forge)
        try:
            secret = await self._history.projects.webhook_secret(project.id)
        except StorageError:
            secret = ""
        return self._site.render(
            request,
            "project.html",
            project=project,
            looked=await self._desk.look(project) if look else None,
            secret=secret,
            forges=list(self._forges),
            titles={forge.name: forge.guide.title for forge in self._forges},
            post_receive=post_receive(project.name),
            forge=project.forge or self._forges.likely(project.url) or ("" if project.local else "github"),
            hooks={forge.name: self._site.links.hook(forge.name, project.name) for forge in self._forges},
            secrets=await self._history.secrets.all(project.name),
            deliveries=await self._history.deliveries.newest(_RECENT, project_id=project.id),
            builds=await self._history.builds.newest(project=project.name, limit=_RECENT),
            waits=await self._history.builds.dispatch.waits(),
        )
