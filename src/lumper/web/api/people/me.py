"""The API's view of who asks: what they may do, their password, and API tokens.

GET    /api/v1/me                  PUT /api/v1/me/password {old, new}
GET    /api/v1/tokens?owner=       POST {name, role?, repositories?, allow?, days?}
DELETE /api/v1/tokens/{token}
"""

from __future__ import annotations

from typing import Any

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from lumper.accounts.accounts import Accounts
from lumper.accounts.tokens import ApiToken
from lumper.model.people.people import PEOPLE, Identity, Role
from lumper.model.people.rights import Action, Grant
from lumper.web.api.answers import answer
from lumper.web.api.guard import Guard, asking, identity_of
from lumper.web.api.openapi import describe, like
from lumper.web.api.parameters import body_of
from lumper.web.api.schemas import Days, Named
from lumper.web.auth.authenticator import Authenticator
from lumper.web.auth.own_tokens import expiry, holder_of, limits_of, tokens_of


class ShownGrant(BaseModel):
    """What is allowed in the repositories that fit a pattern."""

    repository: str
    actions: list[Action]


ShownToken: Any = like(ApiToken, "ApiToken", limits=list[ShownGrant] | None)


class MadeToken(BaseModel):
    """An API token, shown this once."""

    name: str
    role: Role | None
    owner: str
    token: str


class Me(BaseModel):
    """Who asks. Without `limits` their grants are all that they may do; with them, one of each has to allow it."""

    name: str
    role: Role
    grants: list[ShownGrant]
    limits: list[ShownGrant] | None


class NewToken(BaseModel):
    """The body of POST /api/v1/tokens."""

    model_config = ConfigDict(extra="forbid")

    name: str
    role: Role | None = None
    repositories: list[str] = Field(default=[], max_length=100)
    allow: list[Action] = []
    days: Days = None


class OwnPassword(BaseModel):
    """The body of PUT /api/v1/me/password."""

    model_config = ConfigDict(extra="forbid")

    old: SecretStr
    new: SecretStr


class MeRoutes:
    """The handlers."""

    def __init__(self, accounts: Accounts, auth: Authenticator) -> None:
        self._accounts = accounts
        self._auth = auth

    @describe(Me)
    async def me(self, request: web.Request) -> web.Response:
        """Who asks, and what they may do in repositories."""
        identity = identity_of(request)
        rights = identity.rights
        return answer(
            Me(name=identity.name, role=identity.role, grants=_shown(rights.grants), limits=_limits(identity))
        )

    @describe(Named, body=OwnPassword)
    async def set_password(self, request: web.Request) -> web.Response:
        """Choose another password; all other sessions end."""
        new, identity = await body_of(request, OwnPassword), identity_of(request)
        await self._auth.check_password(request, identity, new.old.get_secret_value())
        await self._accounts.set_password(identity.name, new.new.get_secret_value(), asking(request))
        return answer({"name": identity.name})

    @describe(list[ShownToken], query={"owner": str})
    async def list_tokens(self, request: web.Request) -> web.Response:
        """API tokens by name, without the tokens themselves: all, or one's own."""
        owner = tokens_of(identity_of(request))
        if owner is None:
            owner = request.query.get("owner")
        return answer([_token(token) for token in await self._accounts.tokens(owner)])

    @describe(MadeToken, status=201, body=NewToken)
    async def add_token(self, request: web.Request) -> web.Response:
        """Make an API token; it is shown this once. Without a role it is one's own."""
        new, identity = await body_of(request, NewToken), identity_of(request)
        role, owner = holder_of(identity, new.role)
        limits = limits_of(new.repositories, new.allow)
        until = expiry(new.days)
        token = await self._accounts.create_token(
            new.name, role, until, owner=owner, limits=limits, actor=asking(request)
        )
        return answer({"name": new.name, "role": role, "owner": owner, "token": token}, 201)

    @describe(Named)
    async def remove_token(self, request: web.Request) -> web.Response:
        """Revoke an API token."""
        owner, name = tokens_of(identity_of(request)), request.match_info["token"]
        await self._accounts.delete_token(name, owner=owner, actor=asking(request))
        return answer({"name": name})


def _shown(grants: tuple[Grant, ...]) -> list[ShownGrant]:
    return [ShownGrant(repository=each.repository, actions=sorted(each.actions)) for each in grants]


def _limits(of: Identity | ApiToken) -> list[ShownGrant] | None:
    return None if of.limits is None else _shown(of.limits)


def _token(token: ApiToken) -> dict[str, object]:
    return {**vars(token), "limits": _limits(token)}


def add_routes(app: web.Application, guard: Guard, accounts: Accounts, auth: Authenticator) -> None:
    """Serve the part of the API about who asks."""
    own, people = MeRoutes(accounts, auth), (*PEOPLE, Role.USER)
    app.router.add_get("/api/v1/me", guard.allowed(own.me, *Role))
    app.router.add_put("/api/v1/me/password", guard.allowed(own.set_password, *people))
    app.router.add_get("/api/v1/tokens", guard.allowed(own.list_tokens, *people))
    app.router.add_post("/api/v1/tokens", guard.allowed(own.add_token, *people))
    app.router.add_delete("/api/v1/tokens/{token}", guard.allowed(own.remove_token, *people))
