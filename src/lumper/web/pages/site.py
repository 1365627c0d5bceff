"""What all pages share: templates, who may see them, and how errors look to people."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from functools import cached_property
from typing import Protocol
from urllib.parse import quote, urlsplit

from aiohttp import web

from lumper.errors import (
    Conflict,
    Forbidden,
    Invalid,
    LumperError,
    NotFound,
    SourceRefused,
    StorageError,
    StorageFull,
    TooManyAttempts,
    Unauthorized,
)
from lumper.logs import get_logger
from lumper.model.links import Links
from lumper.model.people.people import PEOPLE, Identity, Role
from lumper.web.assets import Assets
from lumper.web.auth.authenticator import Authenticator
from lumper.web.cut_off import cut_off
from lumper.web.methods import allowed_methods
from lumper.web.pages import formats
from lumper.web.pages.security import require_same_origin, with_headers

log = get_logger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

VIEWERS = (*PEOPLE, Role.USER)
IDENTITY = web.RequestKey("identity", Identity)
_STATUS: dict[type[LumperError], int] = {
    NotFound: 404,
    Conflict: 409,
    Invalid: 400,
    SourceRefused: 400,
    Unauthorized: 401,
    Forbidden: 403,
    TooManyAttempts: 429,
    StorageFull: 507,
    StorageError: 503,
}


class Template(Protocol):
    """What makes a page of values."""

    def render(self, *values: Mapping[str, object], **more: object) -> str: ...


class Environment(Protocol):
    """What finds templates by their names."""

    def get_template(self, name: str) -> Template: ...


class Site:
    """Renders templates, and guards handlers. Templates are read and compiled when they are first needed.

    `alone`: there is a registry and nothing else.
    """

    def __init__(self, auth: Authenticator, links: Links, assets: Assets, *, alone: bool = False) -> None:
        self.alone = alone
        self.auth = auth
        self.links = links
        self._assets = assets

    @cached_property
    def _templates(self) -> Environment:
        from lumper.web.pages.templates import environment  # loads Jinja: a registry that nobody looks at needs none

        return environment(self._assets, self.links, alone=self.alone)

    def render(self, request: web.Request, template: str, *, status: int = 200, **values: object) -> web.Response:
        """The template as a page for whoever asks."""
        now = datetime.now(UTC)
        common = {"me": request.get(IDENTITY), "here": request.path, "ago": lambda then: formats.ago(then, now)}
        text = self._templates.get_template(template).render(common, **values)
        return web.Response(text=text, content_type="text/html", status=status)

    def page(self, handler: Handler, roles: tuple[Role, ...] = PEOPLE) -> Handler:
        """`handler` for people who are signed in with one of the roles; others are sent to sign in first."""

        async def guarded(request: web.Request) -> web.StreamResponse:
            identity = await self._identity(request)
            if identity is None:
                return _to_login(request)
            request[IDENTITY] = identity
            if identity.role not in VIEWERS:
                raise Forbidden(f"The pages are not for the role {identity.role.value}.", hint="Sign in as a person.")
            if identity.role not in roles:
                raise Forbidden("This page is for administrators.", hint="You see builds and images that you may pull.")
            if request.method not in ("GET", "HEAD"):
                require_same_origin(request, self.links.public_url)
            return await handler(request)

        return self.public(guarded)

    def public(self, handler: Handler) -> Handler:
        """`handler` for everybody, with errors that people can read."""

        async def shown(request: web.Request) -> web.StreamResponse:
            try:
                return await handler(request)
            except LumperError as exc:
                cut_off(request, exc.sentence)
                return self._error(request, exc)
            except (web.HTTPException, ConnectionError):  # who has asked has gone
                raise
            except Exception as exc:  # a fault of ours: who looks at a page gets one that says so, the log has the rest
                log.exception("a page failed", action="page.error", path=request.path)
                cut_off(request, repr(exc))
                return self._trouble(request, 500, "Something went wrong in Lumper.", "The server's log tells more.")

        return with_headers(shown)

    async def _identity(self, request: web.Request) -> Identity | None:
        try:
            return await self.auth.identify(request)
        except Unauthorized:
            return None

    def _error(self, request: web.Request, exc: LumperError) -> web.Response:
        status = next((code for kind, code in _STATUS.items() if isinstance(exc, kind)), 503 if exc.temporary else 500)
        if status >= 500:
            log.error("a page failed", action="page.error", path=request.path, error=exc.sentence)
        return self._trouble(request, status, exc.message, exc.hint)

    def _trouble(self, request: web.Request, status: int, message: str, hint: str) -> web.Response:
        back = _page_before(request)
        return self.render(request, "error.html", status=status, code=status, message=message, hint=hint, back=back)

    async def nowhere(self, request: web.Request) -> web.StreamResponse:
        """Say that nothing is at this address, or not by this method: to a browser by a page."""
        allowed = await allowed_methods(request)
        if "text/html" not in request.headers.get("Accept", ""):
            raise web.HTTPMethodNotAllowed(request.method, allowed) if allowed else web.HTTPNotFound
        if (identity := await self._identity(request)) is not None:  # the way back is there for who is signed in
            request[IDENTITY] = identity
        return self._trouble(request, 405 if allowed else 404, "There is no such page.", "")


def _to_login(request: web.Request) -> web.Response:
    if "text/event-stream" in request.headers.get("Accept", ""):
        raise web.HTTPUnauthorized
    after = "" if request.path == "/" or request.method != "GET" else f"?next={quote(request.path_qs, safe='')}"
    raise web.HTTPSeeOther(f"/login{after}")


def _page_before(request: web.Request) -> str:
    """The path of our own page that led here, or "/"."""
    try:
        before = urlsplit(request.headers.get("Referer", ""))
    except ValueError:  # an address of IPv6 that is none
        return "/"
    return local_path(before.path) if before.netloc == request.host and before.path != request.path else "/"


def local_path(text: str) -> str:
    """Where to go after signing in: a path of ours, or "/".

    Browsers read `//host` and `/\\host` as other hosts, and drop tabs and line ends from addresses.
    """
    odd = any(ord(c) < 33 or ord(c) == 127 for c in text)
    return "/" if odd or not text.startswith("/") or text[1:2] in ("/", "\\") else text
