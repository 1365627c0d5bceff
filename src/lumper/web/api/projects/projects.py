"""The API's view of projects."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from aiohttp import web
from pydantic import BaseModel, ConfigDict, SecretStr

from lumper.errors import SourceRefused
from lumper.forges.all import Forges
from lumper.line.deliveries import StoredDelivery
from lumper.line.history import History
from lumper.model.links import Links
from lumper.model.people.people import PEOPLE, Identity, Role
from lumper.model.source import GitUrl, Project, parse_git_url
from lumper.web.api.answers import answer
from lumper.web.api.builds.builds import shown_build
from lumper.web.api.guard import Guard, identity_of
from lumper.web.api.openapi import describe, like
from lumper.web.api.parameters import body_of
from lumper.web.api.schemas import Credentials, ShownBuild
from lumper.web.ports import ForgeConnections, Starter

HIDDEN = ("username", "webhook")  # of a project
PublicProject: Any = like(Project, "Project", without=HIDDEN)
_PRIVATE: Any = {"secret": str, "hooks": dict[str, str], "forge": str, "steps": dict[str, list[str]]}
PrivateProject: Any = like(Project, "ProjectWithSecret", without=HIDDEN, **_PRIVATE)
RenewedProject: Any = like(Project, "ProjectWithAnotherSecret", without=HIDDEN, **_PRIVATE, renewed=bool)


class NewProject(BaseModel):
    """The body of POST /api/v1/projects."""

    model_config = ConfigDict(extra="forbid")

    url: str
    name: str = ""
    repository: str = ""
    image: str = ""
    allow_local: bool = False


class NewRules(BaseModel):
    """The body of PUT /api/v1/projects/{name}/rules: what is not given stays as it is."""

    model_config = ConfigDict(extra="forbid")

    tags: tuple[str, ...] = ()
    branches: tuple[str, ...] = ()
    schedule: str = ""
    schedule_ref: str = ""
    reconcile: bool = True
    base_images: bool = False
    concurrency: int = 0
    weight: int = 1
    priority: int = 0
    labels: tuple[str, ...] = ()


class NewBuild(BaseModel):
    """The body of POST /api/v1/projects/{name}/builds: a tag, a branch, or the full name of a ref."""

    model_config = ConfigDict(extra="forbid")

    ref: str


class NewForge(BaseModel):
    """The body of PUT /api/v1/projects/{name}/forge; `forge` and `url` may be left out where the git URL tells."""

    model_config = ConfigDict(extra="forbid")

    token: SecretStr
    forge: str = ""
    url: str = ""


class Connected(BaseModel):
    """What came of it: `pings` tells that a first delivery comes without a push, `statuses` that commits have any."""

    forge: str
    forge_url: str
    hook: str
    pings: bool
    statuses: bool


class Looked(BaseModel):
    """How the project's webhook stands: there, off, elsewhere, gone or unknown, and why; `delivery` came last."""

    forge: str
    forge_url: str
    hook: str
    webhook: str
    words: str
    delivery: StoredDelivery | None


class NewWebhookSecret(BaseModel):
    """The body of PUT /api/v1/projects/{name}/secret; without a secret one is made."""

    model_config = ConfigDict(extra="forbid")

    secret: SecretStr | None = None


class NewUrl(BaseModel):
    """The body of PUT /api/v1/projects/{name}/url; without a URL it is that of now."""

    model_config = ConfigDict(extra="forbid")

    url: str = ""
    username: str = ""
    password: SecretStr = SecretStr("")
    allow_local: bool = False


class ProjectRoutes:
    """The handlers. `allow_local` are folders whose repositories may be named by their path."""

    def __init__(
        self,
        history: History,
        links: Links,
        starter: Starter,
        desk: ForgeConnections,
        forges: Forges,
        allow_local: tuple[Path, ...],
    ) -> None:
        self._projects = history.projects
        self._deliveries = history.deliveries
        self._desk = desk
        self._forges = forges
        self._starter = starter
        self._links = links
        self._allow_local = allow_local

    @describe(list[PublicProject])
    async def show_all(self, _request: web.Request) -> web.Response:
        """All projects, without their secrets."""
        return answer([_public(project) for project in await self._projects.all()])

    @describe(PrivateProject, status=201, body=NewProject)
    async def add(self, request: web.Request) -> web.Response:
        """Add a project; the answer has its webhook secret and the addresses for the forge."""
        new = await body_of(request, NewProject)
        source = parse_git_url(new.url)
        if source.local:
            self._check_local(source, identity_of(request), allowed=new.allow_local)
        project = await self._projects.add(source, name=new.name, repository=new.repository, image=new.image)
        return answer(await self._private(project), 201)

    def _check_local(self, source: GitUrl, identity: Identity, *, allowed: bool) -> None:
        """A local path must lie in an allowed folder, or be allowed by whoever owns the data folder."""
        path = Path(source.url).resolve()
        inside = any(path.is_relative_to(folder.resolve()) for folder in self._allow_local)
        if not inside and not (allowed and identity.role is Role.OPERATOR):
            raise SourceRefused(
                f"The local path {source.url} is not allowed.",
                hint="Add its folder to [git] allow_local, or use `lumper project add --allow-local` on this machine.",
            )

    @describe(PrivateProject)
    async def show(self, request: web.Request) -> web.Response:
        """One project with its secret."""
        return answer(await self._private(await self._projects.get(request.match_info["name"])))

    @describe(PublicProject)
    async def remove(self, request: web.Request) -> web.Response:
        """Forget a project; the webhook that Lumper has made for it goes, too."""
        project = await self._projects.get(request.match_info["name"])
        await self._desk.forget(project)
        return answer(_public(await self._projects.remove(project.id)))

    @describe(PublicProject, body=NewUrl)
    async def set_url(self, request: web.Request) -> web.Response:
        """Let a project's repository be at another URL, or give other credentials, which stay on the same server."""
        new = await body_of(request, NewUrl)
        project = await self._projects.get(request.match_info["name"])
        source = parse_git_url(new.url or project.url)
        if new.username or new.password:
            source = replace(source, username=new.username, password=new.password.get_secret_value())
        if source.local and source.url != project.url:
            self._check_local(source, identity_of(request), allowed=new.allow_local)
        return answer(_public(await self._projects.set_url(project.id, source)))

    @describe(RenewedProject, body=NewWebhookSecret)
    async def set_secret(self, request: web.Request) -> web.Response:
        """Give a project another webhook secret; a random one also at the forge, if Lumper has made its webhook."""
        new = (await body_of(request, NewWebhookSecret)).secret
        secret = new.get_secret_value() if new else ""
        project, secret = await self._projects.set_secret(request.match_info["name"], secret)
        renewed = new is None and await self._desk.renew(project)  # one that is given may be the forge's own
        return answer({**self._with(project, secret), "renewed": renewed})

    @describe(PrivateProject, body=NewRules)
    async def set_rules(self, request: web.Request) -> web.Response:
        """Change what starts the project's builds; rules that are not given stay as they are."""
        given = (await body_of(request, NewRules)).model_dump(exclude_unset=True)
        name = request.match_info["name"]
        rules = replace((await self._projects.get(name)).rules, **given)
        return answer(await self._private(await self._projects.set_rules(name, rules)))

    @describe(Connected, body=NewForge)
    async def connect(self, request: web.Request) -> web.Response:
        """Make the webhook at the forge by its API, and tell the forge of builds from now on."""
        new = await body_of(request, NewForge)
        project = await self._projects.get(request.match_info["name"])
        made = await self._desk.connect(project, new.forge, new.url, new.token.get_secret_value())
        forge, hook = made.project.forge, self._links.hook(made.project.forge, project.name)
        told = {"forge": forge, "forge_url": made.project.forge_url, "hook": hook}
        return answer({**told, "pings": made.pings, "statuses": made.statuses})

    @describe(Looked)
    async def look(self, request: web.Request) -> web.Response:
        """Ask the forge whether the webhook is there, and tell which delivery came last."""
        project = await self._projects.get(request.match_info["name"])
        found = await self._desk.look(project)
        newest = await self._deliveries.newest(1, project_id=project.id)
        hook = self._links.hook(project.forge, project.name) if project.forge else ""
        told = {"forge": project.forge, "forge_url": project.forge_url, "hook": hook}
        return answer({**told, "webhook": found.state, "words": found.words, "delivery": newest[0] if newest else None})

    @describe(PrivateProject)
    async def disconnect(self, request: web.Request) -> web.Response:
        """Forget the token of the forge; the webhook there stays."""
        project = await self._projects.get(request.match_info["name"])
        return answer(await self._private(await self._desk.disconnect(project)))

    @describe(ShownBuild, status=201, body=NewBuild)
    async def start(self, request: web.Request) -> web.Response:
        """Build a tag or branch now; what was built before is built again."""
        new = await body_of(request, NewBuild)
        project = await self._projects.get(request.match_info["name"])
        return answer(shown_build(await self._starter.start(project, new.ref, identity_of(request).name)), 201)

    @describe(Credentials)
    async def credentials(self, request: web.Request) -> web.Response:
        """For workers: how to log in at the project's git server."""
        project = await self._projects.get(request.match_info["name"])
        username, password = await self._projects.git_login(project.id) or ("", "")
        return answer({"username": username, "password": password})

    async def _private(self, project: Project) -> dict[str, Any]:
        return self._with(project, await self._projects.webhook_secret(project.id))

    def _with(self, project: Project, secret: str) -> dict[str, Any]:
        """`forge` is the likely one, "" if the URL does not tell; `steps` is the way to the webhook, by forge."""
        hooks = {forge.name: self._links.hook(forge.name, project.name) for forge in self._forges}
        steps = {forge.name: forge.guide.steps(hooks[forge.name]) for forge in self._forges}
        likely = project.forge or self._forges.likely(project.url)
        return {**_public(project), "secret": secret, "hooks": hooks, "forge": likely, "steps": steps}


def _public(project: Project) -> dict[str, Any]:
    return {key: value for key, value in vars(project).items() if key not in HIDDEN}


def add_routes(app: web.Application, guard: Guard, projects: ProjectRoutes) -> None:
    """Serve the part of the API about projects."""
    one = "/api/v1/projects/{name:.+}"
    app.router.add_get("/api/v1/projects", guard.allowed(projects.show_all, *PEOPLE), allow_head=False)
    app.router.add_post("/api/v1/projects", guard.allowed(projects.add, *PEOPLE))
    app.router.add_get(
        one + "/credentials", guard.allowed(projects.credentials, *PEOPLE, Role.WORKER), allow_head=False
    )
    app.router.add_put(one + "/rules", guard.allowed(projects.set_rules, *PEOPLE))
    app.router.add_post(one + "/builds", guard.allowed(projects.start, *PEOPLE))
    app.router.add_get(one + "/forge", guard.allowed(projects.look, *PEOPLE), allow_head=False)
    app.router.add_put(one + "/forge", guard.allowed(projects.connect, *PEOPLE))
    app.router.add_delete(one + "/forge", guard.allowed(projects.disconnect, *PEOPLE))
    app.router.add_put(one + "/url", guard.allowed(projects.set_url, *PEOPLE))
    app.router.add_put(one + "/secret", guard.allowed(projects.set_secret, *PEOPLE))
    app.router.add_get(one, guard.allowed(projects.show, *PEOPLE), allow_head=False)
    app.router.add_delete(one, guard.allowed(projects.remove, *PEOPLE))
