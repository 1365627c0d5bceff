"""The JSON API under /api/v1: what the command line and other programs use.

docs/reference/api.md lists the routes. Each handler says by `describe` what it takes and answers, and from that comes
the OpenAPI description. Errors are {"error": "…", "hint": "…"} with 400, 401, 403, 404, 405, 409, 413, 429, 503 or 507.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, TypeVar

from aiohttp import web
from pydantic import BaseModel, TypeAdapter, ValidationError

from lumper.errors import (
    Conflict,
    Forbidden,
    Invalid,
    LumperError,
    NotFound,
    QueueUnavailable,
    SourceRefused,
    StorageFull,
    TooManyAttempts,
    Unauthorized,
)
from lumper.history.accounts import ApiToken
from lumper.history.deliveries import StoredDelivery
from lumper.history.store import History
from lumper.model.build import Build
from lumper.model.deployment import Container, Rollout
from lumper.model.image import Image
from lumper.model.links import Links
from lumper.model.people import PEOPLE as PEOPLE
from lumper.model.people import Identity, Role
from lumper.model.source import GitUrl, Project, parse_git_url
from lumper.web.auth import Authenticator, same_origin
from lumper.web.openapi import describe
from lumper.web.shapes import (
    HIDDEN,
    MOST,
    BuildWithRollout,
    Credentials,
    ImageWithTags,
    Limit,
    MadeToken,
    Named,
    NewProject,
    NewToken,
    Number,
    PrivateProject,
    PublicProject,
    ShownBuild,
    Status,
)

_STATUS = {
    Unauthorized: 401,
    TooManyAttempts: 429,
    Forbidden: 403,
    NotFound: 404,
    Conflict: 409,
    Invalid: 400,
    SourceRefused: 400,
    StorageFull: 507,
    QueueUnavailable: 503,
}
_BODY = 64 * 1024  # bytes
_IDENTITY = web.RequestKey("identity", Identity)
Model = TypeVar("Model", bound=BaseModel)
_ANY: TypeAdapter[Any] = TypeAdapter(Any)


def answer(value: object, status: int = 200) -> web.Response:
    """Any dataclass, or list of them, as JSON."""
    return web.Response(body=_ANY.dump_json(value), content_type="application/json", status=status)


def error_response(exc: LumperError) -> web.Response:
    """The error as JSON with its hint and the status that fits it."""
    status = next((code for kind, code in _STATUS.items() if isinstance(exc, kind)), 500)
    response = answer({"error": exc.message, "hint": exc.hint}, status)
    if isinstance(exc, TooManyAttempts):
        response.headers["Retry-After"] = str(exc.retry_after)
    return response


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Api:
    """The handlers. `allow_local` are folders whose repositories may be named by their path."""

    def __init__(self, history: History, auth: Authenticator, links: Links, allow_local: tuple[Path, ...]) -> None:
        self._history = history
        self._auth = auth
        self._links = links
        self._allow_local = allow_local

    def allowed(self, handler: Handler, *roles: Role) -> Handler:
        """`handler` for those who have one of the roles, with errors as JSON."""

        @functools.wraps(handler)
        async def guarded(request: web.Request) -> web.StreamResponse:
            try:
                identity = await self._auth.identify(request)
                if identity is None:
                    return answer({"error": "Who are you?", "hint": "Send an API token as a bearer token."}, 401)
                if identity.role not in roles:
                    hint = f"It takes a token with the role {' or '.join(role.value for role in roles)}."
                    raise Forbidden(f"This is not for the role {identity.role.value}.", hint=hint)
                if request.method != "GET" and not same_origin(request):
                    raise Forbidden("This change does not come from one of Lumper's own pages.")
                request[_IDENTITY] = identity
                return await handler(request)
            except web.HTTPRequestEntityTooLarge:
                return answer({"error": "The body is too large.", "hint": f"At most {_BODY} bytes are taken."}, 413)
            except LumperError as exc:
                return error_response(exc)

        guarded.__dict__["roles"] = roles
        return guarded

    async def nothing(self, request: web.Request) -> web.Response:
        """What is not there."""
        known = [await resource.resolve(request) for resource in request.app.router.resources()]
        methods = set().union(*(methods for _, methods in known)) - {"*"}
        if not methods:
            raise NotFound(f"There is no {request.path}.", hint="GET /api/v1/openapi.json lists what there is.")
        allowed = ", ".join(sorted(methods))
        refused = answer({"error": f"There is no {request.method} {request.path}.", "hint": f"Use {allowed}."}, 405)
        refused.headers["Allow"] = allowed
        return refused

    @describe(Status)
    async def status(self, _request: web.Request) -> web.Response:
        """What answers here."""
        return answer(
            {"version": version("lumper"), "public_url": self._links.public_url, "registry": self._links.registry}
        )

    @describe(list[PublicProject])
    async def list_projects(self, _request: web.Request) -> web.Response:
        """All projects, without their secrets."""
        return answer([_public(project) for project in await self._history.projects.all()])

    @describe(PrivateProject, status=201, body=NewProject)
    async def add_project(self, request: web.Request) -> web.Response:
        """Add a project; the answer has its webhook secret and the addresses for the forge."""
        new = await body_of(request, NewProject)
        source = parse_git_url(new.url)
        if source.local:
            self._check_local(source, request[_IDENTITY], allowed=new.allow_local)
        project = await self._history.projects.add(source, name=new.name, repository=new.repository, image=new.image)
        return answer(self._private(project), 201)

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
    async def show_project(self, request: web.Request) -> web.Response:
        """One project with its secret."""
        return answer(self._private(await self._history.projects.get(request.match_info["name"])))

    @describe(PublicProject)
    async def remove_project(self, request: web.Request) -> web.Response:
        """Forget a project."""
        return answer(_public(await self._history.projects.remove(request.match_info["name"])))

    @describe(Credentials)
    async def project_credentials(self, request: web.Request) -> web.Response:
        """For workers: how to log in at the project's git server."""
        project = await self._history.projects.get(request.match_info["name"])
        return answer({"username": project.username, "password": project.password})

    def _private(self, project: Project) -> dict[str, Any]:
        hooks = {forge: self._links.hook(forge) for forge in ("github", "gitea")}
        return {**_public(project), "secret": project.secret, "hooks": hooks}

    @describe(list[ShownBuild], query={"project": str, "limit": Limit, "before": Number})
    async def list_builds(self, request: web.Request) -> web.Response:
        """The newest builds first."""
        before = _number(request, "before", 0)
        found = await self._history.builds.newest(
            project=request.query.get("project", ""), limit=_limit(request), before=before or None
        )
        return answer([_build(build) for build in found])

    @describe(BuildWithRollout)
    async def show_build(self, request: web.Request) -> web.Response:
        """One build, with its rollout."""
        build = await self._history.builds.get(_id(request))
        return answer({**_build(build), "rollout": await self._history.rollouts.of_build(build.id)})

    @describe(ShownBuild)
    async def cancel_build(self, request: web.Request) -> web.Response:
        """Cancel a build."""
        return answer(_build(await self._history.builds.cancel(_id(request))))

    @describe(ShownBuild)
    async def restart_build(self, request: web.Request) -> web.Response:
        """Build the same commit again."""
        return answer(_build(await self._history.builds.restart(_id(request))))

    @describe(
        str, query={"attempt": Number, "offset": Number, "follow": Literal["0", "1"]}, media_type="application/jsonl"
    )
    async def build_log(self, request: web.Request) -> web.StreamResponse:
        """The log as JSON lines, from byte `offset` on; `follow=1` waits for more until the build has ended."""
        build = await self._history.builds.get(_id(request))
        attempt = _number(request, "attempt", build.attempt)
        offset, follow = _number(request, "offset", 0), flag(request, "follow")
        if not 1 <= attempt <= build.attempt:
            raise NotFound(f"Build {build.id} has no attempt {attempt}.", hint=f"It has {build.attempt}.")
        response = web.StreamResponse(headers={"Content-Type": "application/jsonl"})
        await response.prepare(request)
        while True:
            async for chunk in self._history.logs.read(build.id, attempt, offset):
                offset += len(chunk)
                await response.write(chunk)
            if build.state.final or not follow or build.attempt != attempt:
                break
            await self._history.logs.wait(build.id, attempt, offset, 5.0)
            build = await self._history.builds.get(build.id)
        await response.write_eof()
        return response

    @describe(list[Image])
    async def list_images(self, _request: web.Request) -> web.Response:
        """All repositories of the registry."""
        return answer(await self._history.images.images())

    @describe(ImageWithTags)
    async def show_image(self, request: web.Request) -> web.Response:
        """One repository with its tags."""
        name = request.match_info["name"]
        tags = await self._history.images.tags(name, limit=1000)
        if tags is None:
            raise NotFound(f"There is no image {name!r}.", hint="`lumper images` shows all.")
        rows = []
        for tag in tags:
            manifest = await self._history.images.manifest(name, tag.digest)
            rows.append({**vars(tag), "size": manifest.total if manifest else 0})
        return answer({"name": name, "pull": f"{self._links.registry}/{name}", "tags": rows})

    @describe(list[Container])
    async def list_containers(self, _request: web.Request) -> web.Response:
        """What runs where, as last seen."""
        return answer(await self._history.rollouts.containers())

    @describe(list[Rollout], query={"service": str, "limit": Limit})
    async def list_rollouts(self, request: web.Request) -> web.Response:
        """The newest rollouts first."""
        service, limit = request.query.get("service", ""), _limit(request)
        return answer(await self._history.rollouts.newest(service=service, limit=limit))

    @describe(list[StoredDelivery], query={"limit": Limit})
    async def list_deliveries(self, request: web.Request) -> web.Response:
        """The newest deliveries first."""
        return answer(await self._history.deliveries.newest(_limit(request)))

    @describe(MadeToken, status=201, body=NewToken)
    async def add_token(self, request: web.Request) -> web.Response:
        """Make an API token; it is shown this once."""
        new = await body_of(request, NewToken)
        if new.role is Role.OPERATOR and request[_IDENTITY].role is not Role.OPERATOR:
            raise Forbidden(
                "A token of the role operator is made by the command line on the server's own machine only.",
                hint="Choose another role.",
            )
        token = await self._history.accounts.create_token(new.name, new.role)
        return answer({"name": new.name, "role": new.role, "token": token}, 201)

    @describe(list[ApiToken])
    async def list_tokens(self, _request: web.Request) -> web.Response:
        """All API tokens by name, without the tokens themselves."""
        return answer(await self._history.accounts.tokens())

    @describe(Named)
    async def remove_token(self, request: web.Request) -> web.Response:
        """Revoke an API token."""
        name = request.match_info["token"]
        await self._history.accounts.delete_token(name)
        return answer({"name": name})


def _public(project: Project) -> dict[str, Any]:
    return {key: value for key, value in vars(project).items() if key not in HIDDEN}


def _build(build: Build) -> dict[str, Any]:
    return {**vars(build), "tag": build.tag, "seconds": build.seconds}


async def body_of(request: web.Request, model: type[Model]) -> Model:
    """The body of a request, checked. Raises Invalid."""
    data = bytearray()
    async for chunk in request.content.iter_any():
        data += chunk
        if len(data) > _BODY:
            raise web.HTTPRequestEntityTooLarge(_BODY, len(data))
    try:
        return model.model_validate_json(bytes(data))
    except ValidationError as exc:
        words = "; ".join(f"{'.'.join(map(str, error['loc']))}: {error['msg']}" for error in exc.errors())
        raise Invalid(f"The body is not understood: {words}.") from exc


def _id(request: web.Request) -> int:
    return int(request.match_info["id"])


def _number(request: web.Request, name: str, default: int) -> int:
    values = request.query.getall(name, [])
    if not values:
        return default
    if len(values) > 1 or not re.fullmatch("[0-9]{1,18}", values[0]):
        raise Invalid(f"{name} must be one number.")
    return int(values[0])


def flag(request: web.Request, name: str) -> bool:
    """Whether a parameter of the query is 1 and not 0, as it is where it is missing. Raises Invalid."""
    values = request.query.getall(name, ["0"])
    if values not in (["0"], ["1"]):
        raise Invalid(f"{name} must be 0 or 1.")
    return values == ["1"]


def _limit(request: web.Request) -> int:
    limit = _number(request, "limit", 50)
    if not 1 <= limit <= MOST:
        raise Invalid(f"limit must be between 1 and {MOST}.")
    return limit


def add_routes(app: web.Application, api: Api) -> None:
    """Serve the API."""
    readers = tuple(Role)
    table: list[tuple[str, str, Handler, tuple[Role, ...]]] = [
        ("GET", "/status", api.status, readers),
        ("GET", "/projects", api.list_projects, PEOPLE),
        ("POST", "/projects", api.add_project, PEOPLE),
        ("GET", "/projects/{name:.+}/credentials", api.project_credentials, (*PEOPLE, Role.WORKER)),
        ("GET", "/projects/{name:.+}", api.show_project, PEOPLE),
        ("DELETE", "/projects/{name:.+}", api.remove_project, PEOPLE),
        ("GET", "/builds", api.list_builds, PEOPLE),
        (r"GET", r"/builds/{id:\d{1,18}}", api.show_build, PEOPLE),
        (r"POST", r"/builds/{id:\d{1,18}}/cancel", api.cancel_build, PEOPLE),
        (r"POST", r"/builds/{id:\d{1,18}}/restart", api.restart_build, PEOPLE),
        (r"GET", r"/builds/{id:\d{1,18}}/log", api.build_log, (*PEOPLE, Role.MAILER)),
        ("GET", "/images", api.list_images, PEOPLE),
        ("GET", "/images/{name:.+}", api.show_image, PEOPLE),
        ("GET", "/containers", api.list_containers, PEOPLE),
        ("GET", "/rollouts", api.list_rollouts, PEOPLE),
        ("GET", "/deliveries", api.list_deliveries, PEOPLE),
        ("GET", "/tokens", api.list_tokens, PEOPLE),
        ("POST", "/tokens", api.add_token, PEOPLE),
        ("DELETE", "/tokens/{token}", api.remove_token, PEOPLE),
        ("*", "/{anything:(?s:.*)}", api.nothing, readers),
    ]
    for method, path, handler, roles in table:
        app.router.add_route(method, "/api/v1" + path, api.allowed(handler, *roles))
