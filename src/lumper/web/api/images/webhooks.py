"""The API's view of webhooks: other programs that are told what happens in the registry."""

from __future__ import annotations

import asyncio
import secrets
import socket
from typing import Annotated, Any
from urllib.parse import urlsplit

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from lumper.errors import Invalid
from lumper.model.images.activity import AuditAction
from lumper.model.images.webhook import ACTIONS, Call, CallState, Format, Webhook, never_called, problems
from lumper.model.people.people import PEOPLE
from lumper.registry.catalog.webhooks import Webhooks
from lumper.web.api.answers import answer
from lumper.web.api.guard import Guard, asking
from lumper.web.api.openapi import describe, like
from lumper.web.api.parameters import body_of, limit_of
from lumper.web.api.schemas import Limit

_SECRET = 16  # characters at least
_LOOKUP_SECONDS = 3.0
ShownWebhook: Any = like(Webhook, "Webhook", without=())
MadeWebhook: Any = like(Webhook, "WebhookWithSecret", without=(), secret=str)


class NewWebhook(BaseModel):
    """The body of POST /api/v1/registry/webhooks. Without a secret one is made, and shown this once."""

    model_config = ConfigDict(extra="forbid")

    url: str
    secret: Annotated[SecretStr, Field(max_length=1000)] = SecretStr("")
    actions: tuple[AuditAction, ...] = ACTIONS
    repositories: str = "**"
    format: Format = Format.LUMPER
    private: bool = False


class Number(BaseModel):
    """Which webhook."""

    id: int


class RevivedCalls(BaseModel):
    """How many calls wait again."""

    id: int
    revived: int


class WebhookRoutes:
    """The handlers."""

    def __init__(self, webhooks: Webhooks) -> None:
        self._webhooks = webhooks

    @describe(list[ShownWebhook])
    async def show(self, _request: web.Request) -> web.Response:
        """All webhooks, without their secrets."""
        return answer([vars(webhook) for webhook in await self._webhooks.all()])

    @describe(MadeWebhook, status=201, body=NewWebhook)
    async def add(self, request: web.Request) -> web.Response:
        """Add a webhook; its secret is shown this once."""
        new = await body_of(request, NewWebhook)
        wrong = problems(new.url, new.actions, new.repositories)
        wrong += [f"nobody can be told of {action}" for action in new.actions if action not in ACTIONS]
        secret = new.secret.get_secret_value() or secrets.token_urlsafe(32)
        if len(secret) < _SECRET:
            wrong.append(f"the secret must have at least {_SECRET} characters")
        if not wrong and (why := await _never_called(new)):
            wrong.append(why)
        if wrong:
            text = "; ".join(wrong)
            raise Invalid(
                f"{text[:1].upper()}{text[1:2000]}.", hint="`lumper registry webhooks add --help` has an example."
            )
        actions = tuple(dict.fromkeys(new.actions))
        made = await self._webhooks.add(new.url, secret, actions, new.repositories, new.format, private=new.private)
        return answer({**vars(made), "secret": secret}, 201)

    @describe(Number)
    async def remove(self, request: web.Request) -> web.Response:
        """Remove a webhook with its calls."""
        number = _number(request)
        await self._webhooks.remove(number)
        return answer({"id": number})

    @describe(Number)
    async def ping(self, request: web.Request) -> web.Response:
        """Call a webhook with an event that tells of nothing; its calls show what came of it."""
        number = _number(request)
        await self._webhooks.ping(number, asking(request))
        return answer({"id": number})

    @describe(list[Call], query={"state": CallState, "limit": Limit})
    async def calls(self, request: web.Request) -> web.Response:
        """The newest calls of a webhook first: what waits, was delivered, or was given up."""
        state = request.query.get("state")
        if state not in (None, *CallState):
            raise Invalid(f"state is none of {', '.join(CallState)}.")
        kind = None if state is None else CallState(state)
        return answer(await self._webhooks.calls(_number(request), state=kind, limit=limit_of(request)))

    @describe(RevivedCalls)
    async def revive(self, request: web.Request) -> web.Response:
        """Give the dead calls of a webhook another chance."""
        number = _number(request)
        return answer({"id": number, "revived": await self._webhooks.revive(number)})


async def _never_called(new: NewWebhook) -> str:
    """Why it would never be called, as far as its host has addresses now: those of the day of a call count."""
    parts = urlsplit(new.url)
    host = parts.hostname or ""
    try:
        async with asyncio.timeout(_LOOKUP_SECONDS):
            found = await asyncio.get_running_loop().getaddrinfo(host, parts.port or 443, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, TimeoutError):
        return ""
    return never_called(host, [str(address[0]) for *_, address in found], private=new.private)


def _number(request: web.Request) -> int:
    return int(request.match_info["webhook"])


def add_routes(app: web.Application, guard: Guard, webhooks: Webhooks) -> None:
    """Serve the part of the API about webhooks."""
    routes = WebhookRoutes(webhooks)
    base = "/api/v1/registry/webhooks"
    one = base + r"/{webhook:\d{1,9}}"
    app.router.add_get(base, guard.allowed(routes.show, *PEOPLE))
    app.router.add_post(base, guard.allowed(routes.add, *PEOPLE))
    app.router.add_delete(one, guard.allowed(routes.remove, *PEOPLE))
    app.router.add_get(one + "/calls", guard.allowed(routes.calls, *PEOPLE))
    app.router.add_post(one + "/ping", guard.allowed(routes.ping, *PEOPLE))
    app.router.add_post(one + "/revive", guard.allowed(routes.revive, *PEOPLE))
