"""Who may ask the API: every handler is guarded, and what it raises becomes an answer."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable

from aiohttp import web

from lumper.errors import Forbidden, LumperError
from lumper.model.images.activity import Actor
from lumper.model.people.people import Identity, Role
from lumper.web.api.answers import answer, error_response
from lumper.web.api.openapi import check_query
from lumper.web.auth.authenticator import Authenticator, actor_of
from lumper.web.auth.csrf import same_origin
from lumper.web.cut_off import cut_off
from lumper.web.small_bodies import MOST_BYTES

_IDENTITY = web.RequestKey("identity", Identity)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Guard:
    """Lets in those who may."""

    def __init__(self, auth: Authenticator) -> None:
        self._auth = auth

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
                request[_IDENTITY] = identity
                return await handler(request)
            except web.HTTPRequestEntityTooLarge:
                return answer(
                    {"error": "The body is too large.", "hint": f"At most {MOST_BYTES} bytes are taken."}, 413
                )
            except LumperError as exc:
                cut_off(request, exc.sentence)
                return error_response(exc)

        guarded.__dict__["roles"] = roles
        return guarded


def asking(request: web.Request) -> Actor:
    """Who has sent this request, for the activity log."""
    return actor_of(request[_IDENTITY], request)


def identity_of(request: web.Request) -> Identity:
    """Who asks, in a handler that `Guard.allowed` guards."""
    return request[_IDENTITY]
