"""The JSON API under /api/v1: what the command line and other programs use.

docs/reference/api.md lists the routes. Each handler says by `describe` what it takes and answers, and from that comes
the OpenAPI description. Errors are {"error": "…", "hint": "…"} with 400, 401, 403, 404, 405, 409, 413, 429, 503 or 507.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from importlib.metadata import version
from typing import Any, TypeVar

from aiohttp import web
from pydantic import BaseModel, TypeAdapter, ValidationError

from lumper.errors import (
    Conflict,
    Forbidden,
    ForgeError,
    Invalid,
    LumperError,
    NotFound,
    QueueUnavailable,
    SourceRefused,
    StorageError,
    StorageFull,
    TooManyAttempts,
    Unauthorized,
)
from lumper.history.store import History
from lumper.model.activity import Actor
from lumper.model.build import Build, BuildState
from lumper.model.deployment import Container, Rollout
from lumper.model.image import Image, beside
from lumper.model.links import Links
from lumper.model.people import GRANTED, Identity, Role
from lumper.model.people import PEOPLE as PEOPLE
from lumper.model.rights import Action
from lumper.model.scheduling import Wait
from lumper.web.auth import Authenticator, actor_of, same_origin
from lumper.web.health import AGAIN_SECONDS
from lumper.web.incoming import MOST_BYTES, whole_body
from lumper.web.openapi import check_query, describe
from lumper.web.seen import check_seen, images_seen_by
from lumper.web.shapes import (
    MOST,
    BuildWithRollout,
    Credentials,
    ImageWithTags,
    Limit,
    Number,
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
    StorageError: 503,
    QueueUnavailable: 503,
    ForgeError: 502,
}
IDENTITY = web.RequestKey("identity", Identity)
Model = TypeVar("Model", bound=BaseModel)
_ANY: TypeAdapter[Any] = TypeAdapter(Any)


def answer(value: object, status: int = 200) -> web.Response:
    """Any dataclass, or list of them, as JSON."""
    return web.Response(body=_ANY.dump_json(value), content_type="application/json", status=status)


def line(value: object) -> bytes:
    """A line of JSON, in a stream of them."""
    return _ANY.dump_json(value) + b"\n"


def error_response(exc: LumperError) -> web.Response:
    """The error as JSON with its hint and the status that fits it."""
    status = next((code for kind, code in _STATUS.items() if isinstance(exc, kind)), 500)
    response = answer({"error": exc.message, "hint": exc.hint}, status)
    if isinstance(exc, TooManyAttempts):
        response.headers["Retry-After"] = str(exc.retry_after)
    elif status == _STATUS[StorageError]:
        response.headers["Retry-After"] = AGAIN_SECONDS
    return response


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Api:
    """The handlers."""

    def __init__(self, history: History, auth: Authenticator, links: Links) -> None:
        self._history = history
        self._auth = auth
        self._links = links

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
                check_query(request, handler)
                request[IDENTITY] = identity
                return await handler(request)
            except web.HTTPRequestEntityTooLarge:
                return answer(
                    {"error": "The body is too large.", "hint": f"At most {MOST_BYTES} bytes are taken."}, 413
                )
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

    @describe(list[ShownBuild], query={"project": str, "limit": Limit, "before": Number})
    async def list_builds(self, request: web.Request) -> web.Response:
        """The newest builds first."""
        before = number(request, "before", 0)
        found = await self._history.builds.newest(
            project=request.query.get("project", ""),
            limit=limit_of(request),
            before=before or None,
            images=await images_seen_by(identity_of(request), self._history),
        )
        waits = await self._waits(found)
        return answer([shown_build(build, waits.get(build.id)) for build in found])

    async def _waits(self, builds: Sequence[Build]) -> Mapping[int, Wait]:
        queued = any(build.state is BuildState.QUEUED for build in builds)
        return await self._history.builds.dispatch.waits() if queued else {}

    async def build_seen(self, request: web.Request) -> Build:
        """The build, if whoever asks may see it; the mailer may see all. Raises NotFound."""
        build, identity = await self._history.builds.get(id_of(request)), identity_of(request)
        if identity.role is not Role.MAILER:
            check_seen(identity, build)
        return build

    @describe(BuildWithRollout)
    async def show_build(self, request: web.Request) -> web.Response:
        """One build, and what came of verifying it; for administrators with its rollout."""
        build = await self.build_seen(request)
        whole = identity_of(request).role in PEOPLE
        rollout = await self._history.rollouts.of_build(build.id) if whole else None
        waits = await self._waits([build])
        verification = await self._history.verifications.of(build)
        return answer({**shown_build(build, waits.get(build.id)), "rollout": rollout, "verification": verification})

    @describe(ShownBuild)
    async def cancel_build(self, request: web.Request) -> web.Response:
        """Cancel a build."""
        return answer(shown_build(await self._history.builds.cancel(id_of(request))))

    @describe(ShownBuild)
    async def restart_build(self, request: web.Request) -> web.Response:
        """Build the same commit again."""
        return answer(shown_build(await self._history.builds.restart(id_of(request))))

    @describe(Credentials, query={"attempt": Number})
    async def registry_login(self, request: web.Request) -> web.Response:
        """For workers: how an attempt signs in to the registry, until it has ended."""
        build_id, attempt = id_of(request), number(request, "attempt", 0)
        identity = await self._history.accounts.build(build_id, attempt)
        if identity is None:
            raise Conflict(f"Build {build_id} has no attempt {attempt} that goes on.")
        return answer({"username": identity.name, "password": self._auth.build_token(build_id, attempt)})

    @describe(list[Image])
    async def list_images(self, request: web.Request) -> web.Response:
        """All repositories of the registry that may be pulled, but for those in which nothing is left."""
        rights, known = identity_of(request).rights, await self._history.images.images()
        return answer([one for one in known if rights.allow(one.name, Action.PULL)])

    @describe(ImageWithTags)
    async def show_image(self, request: web.Request) -> web.Response:
        """One repository with its tags, without those that only say something of an image: signatures and the like."""
        name = request.match_info["name"]
        seen = identity_of(request).rights.allow(name, Action.PULL)
        tags = await self._history.images.tags(name, limit=1000) if seen else None
        if tags is None:
            raise NotFound(f"There is no image {name!r}.", hint="`lumper images` shows all.")
        rows = []
        for tag in tags:
            if beside(tag.name):
                continue
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
        service, limit = request.query.get("service", ""), limit_of(request)
        return answer(await self._history.rollouts.newest(service=service, limit=limit))


def shown_build(build: Build, wait: Wait | None = None) -> dict[str, Any]:
    """A build as the API shows it, with its place in the queue and the reason why it waits."""
    queued = {"position": wait.position if wait else None, "waits": wait.reason if wait else ""}
    return {**vars(build), "tag": build.tag, "seconds": build.seconds, **queued}


def asking(request: web.Request) -> Actor:
    """Who has sent this request, for the activity log."""
    return actor_of(request[IDENTITY], request)


async def body_of(request: web.Request, model: type[Model]) -> Model:
    """The body of a request, checked. Raises Invalid."""
    data = await whole_body(request)
    try:
        return model.model_validate_json(data)
    except ValidationError as exc:
        words = "; ".join(f"{'.'.join(map(str, error['loc']))}: {error['msg']}" for error in exc.errors())
        raise Invalid(f"The body is not understood: {words}.") from exc


def id_of(request: web.Request) -> int:
    """The number `id` in the path."""
    return int(request.match_info["id"])


def number(request: web.Request, name: str, default: int) -> int:
    """A number in the query. Raises Invalid."""
    value = request.query.get(name)
    if value is None:
        return default
    if not re.fullmatch("[0-9]{1,18}", value):
        raise Invalid(f"{name} must be one whole number of 0 or more.")
    return int(value)


def identity_of(request: web.Request) -> Identity:
    """Who asks, in a handler that `Api.allowed` guards."""
    return request[IDENTITY]


def flag(request: web.Request, name: str) -> bool:
    """Whether a parameter of the query is 1 and not 0, as it is where it is missing. Raises Invalid."""
    value = request.query.get(name, "0")
    if value not in ("0", "1"):
        raise Invalid(f"{name} must be 0 or 1.")
    return value == "1"


def limit_of(request: web.Request) -> int:
    """How many entries are asked for. Raises Invalid."""
    limit = number(request, "limit", 50)
    if not 1 <= limit <= MOST:
        raise Invalid(f"limit must be between 1 and {MOST}.")
    return limit


def add_routes(app: web.Application, api: Api) -> None:
    """Serve the API."""
    viewers = (*PEOPLE, *GRANTED)
    table: list[tuple[str, str, Handler, tuple[Role, ...]]] = [
        ("GET", "/status", api.status, tuple(Role)),
        ("GET", "/builds", api.list_builds, viewers),
        (r"GET", r"/builds/{id:\d{1,18}}", api.show_build, viewers),
        (r"POST", r"/builds/{id:\d{1,18}}/cancel", api.cancel_build, PEOPLE),
        (r"POST", r"/builds/{id:\d{1,18}}/restart", api.restart_build, PEOPLE),
        (r"GET", r"/builds/{id:\d{1,18}}/login", api.registry_login, (Role.WORKER,)),
        ("GET", "/images", api.list_images, viewers),
        ("GET", "/images/{name:.+}", api.show_image, viewers),
        ("GET", "/containers", api.list_containers, PEOPLE),
        ("GET", "/rollouts", api.list_rollouts, PEOPLE),
        ("*", "/{anything:(?s:.*)}", api.nothing, tuple(Role)),
    ]
    for method, path, handler, roles in table:
        app.router.add_route(method, "/api/v1" + path, api.allowed(handler, *roles))
