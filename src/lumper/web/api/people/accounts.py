"""The API's view of accounts: people, robots, and what they were granted. For administrators and the operator.

GET    /api/v1/users               POST {name, password, role}
PATCH  /api/v1/users/{user}        {role?, disabled?}          DELETE
PUT    /api/v1/users/{user}/password {password}
GET    /api/v1/robots              POST {name, days?}
PATCH  /api/v1/robots/{robot}      {disabled}                  DELETE
POST   /api/v1/robots/{robot}/token {days?}
GET    /api/v1/grants?account=     POST {account, repository, allow}
DELETE /api/v1/grants?account=&repository=
"""

from __future__ import annotations

from typing import Literal

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from lumper.accounts.accounts import Accounts, Robot, User
from lumper.accounts.grants import HeldGrant
from lumper.errors import Invalid
from lumper.model.people.people import PEOPLE, Role
from lumper.model.people.rights import Action
from lumper.web.api.answers import answer
from lumper.web.api.guard import Guard, asking
from lumper.web.api.openapi import describe
from lumper.web.api.parameters import body_of
from lumper.web.api.schemas import Days, Named
from lumper.web.auth.own_tokens import expiry


class MadeUser(BaseModel):
    """Who was let in, and as what."""

    name: str
    role: Role


class MadeRobot(BaseModel):
    """A robot and its token, shown this once."""

    name: str
    token: str


class NewUser(BaseModel):
    """The body of POST /api/v1/users."""

    model_config = ConfigDict(extra="forbid")

    name: str
    password: SecretStr
    role: Literal["admin", "user"] = "user"


class ChangedUser(BaseModel):
    """The body of PATCH /api/v1/users/{user}: what is left out stays."""

    model_config = ConfigDict(extra="forbid")

    role: Literal["admin", "user"] | None = None
    disabled: bool | None = None


class NewPassword(BaseModel):
    """The body of PUT /api/v1/users/{user}/password."""

    model_config = ConfigDict(extra="forbid")

    password: SecretStr


class NewRobot(BaseModel):
    """The body of POST /api/v1/robots."""

    model_config = ConfigDict(extra="forbid")

    name: str
    days: Days = None


class ChangedRobot(BaseModel):
    """The body of PATCH /api/v1/robots/{robot}."""

    model_config = ConfigDict(extra="forbid")

    disabled: bool


class NewRobotToken(BaseModel):
    """The body of POST /api/v1/robots/{robot}/token."""

    model_config = ConfigDict(extra="forbid")

    days: Days = None


class NewGrant(BaseModel):
    """The body of POST /api/v1/grants."""

    model_config = ConfigDict(extra="forbid")

    account: str
    repository: str
    allow: list[Action] = Field(min_length=1)


class UserRoutes:
    """Those with a password."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    @describe(list[User])
    async def show(self, _request: web.Request) -> web.Response:
        """All of them by name."""
        return answer(await self._accounts.users())

    @describe(MadeUser, status=201, body=NewUser)
    async def add(self, request: web.Request) -> web.Response:
        """Let somebody in."""
        new = await body_of(request, NewUser)
        role = Role(new.role)
        await self._accounts.create_user(new.name, new.password.get_secret_value(), role, asking(request))
        return answer({"name": new.name, "role": role}, 201)

    @describe(User, body=ChangedUser)
    async def change(self, request: web.Request) -> web.Response:
        """Give somebody another role, or keep them out for a while."""
        new, name = await body_of(request, ChangedUser), request.match_info["user"]
        role = Role(new.role) if new.role else None
        return answer(await self._accounts.change_user(name, role=role, disabled=new.disabled, actor=asking(request)))

    @describe(Named, body=NewPassword)
    async def set_password(self, request: web.Request) -> web.Response:
        """Give somebody another password; their sessions end."""
        new, name = await body_of(request, NewPassword), request.match_info["user"]
        await self._accounts.set_password(name, new.password.get_secret_value(), asking(request))
        return answer({"name": name})

    @describe(Named)
    async def remove(self, request: web.Request) -> web.Response:
        """Let somebody in no more; their tokens and grants go too."""
        await self._accounts.delete_user(request.match_info["user"], asking(request))
        return answer({"name": request.match_info["user"]})


class RobotRoutes:
    """Programs with a token that is nobody's."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    @describe(list[Robot])
    async def show(self, _request: web.Request) -> web.Response:
        """All robots by name."""
        return answer(await self._accounts.robots())

    @describe(MadeRobot, status=201, body=NewRobot)
    async def add(self, request: web.Request) -> web.Response:
        """Make a robot; its token is shown this once."""
        new = await body_of(request, NewRobot)
        token = await self._accounts.create_robot(new.name, expiry(new.days), asking(request))
        return answer({"name": new.name, "token": token}, 201)

    @describe(Named, body=ChangedRobot)
    async def change(self, request: web.Request) -> web.Response:
        """Keep a robot out for a while, or let it in again."""
        new, name = await body_of(request, ChangedRobot), request.match_info["robot"]
        await self._accounts.disable_robot(name, disabled=new.disabled, actor=asking(request))
        return answer({"name": name})

    @describe(MadeRobot, status=201, body=NewRobotToken)
    async def rotate(self, request: web.Request) -> web.Response:
        """Give a robot another token, shown this once, for as many days as the one before it, which is void."""
        new, name = await body_of(request, NewRobotToken), request.match_info["robot"]
        token = await self._accounts.rotate_robot(name, expiry(new.days), asking(request))
        return answer({"name": name, "token": token}, 201)

    @describe(Named)
    async def remove(self, request: web.Request) -> web.Response:
        """Remove a robot with its token and grants."""
        await self._accounts.delete_robot(request.match_info["robot"], asking(request))
        return answer({"name": request.match_info["robot"]})


class GrantRoutes:
    """Who may do what in which repositories."""

    def __init__(self, accounts: Accounts) -> None:
        self._grants = accounts.grants

    @describe(list[HeldGrant], query={"account": str})
    async def show(self, request: web.Request) -> web.Response:
        """All grants, or those of one account."""
        return answer(await self._grants.all(request.query.get("account", "")))

    @describe(HeldGrant, status=201, body=NewGrant)
    async def add(self, request: web.Request) -> web.Response:
        """Allow an account more."""
        new = await body_of(request, NewGrant)
        return answer(await self._grants.add(new.account, new.repository, new.allow, asking(request)), 201)

    @describe(Named, query={"account": str, "repository": str})
    async def remove(self, request: web.Request) -> web.Response:
        """Take a grant back."""
        account, repository = (request.query.get(key, "") for key in ("account", "repository"))
        if not account or not repository:
            raise Invalid("Say whose grant for what: ?account=…&repository=….")
        await self._grants.remove(account, repository, asking(request))
        return answer({"name": account})


def add_routes(app: web.Application, guard: Guard, accounts: Accounts) -> None:
    """Serve the part of the API about accounts."""
    people, robots, grants = UserRoutes(accounts), RobotRoutes(accounts), GrantRoutes(accounts)
    for method, path, handler in (
        ("GET", "users", people.show),
        ("POST", "users", people.add),
        ("PATCH", "users/{user}", people.change),
        ("PUT", "users/{user}/password", people.set_password),
        ("DELETE", "users/{user}", people.remove),
        ("GET", "robots", robots.show),
        ("POST", "robots", robots.add),
        ("PATCH", "robots/{robot}", robots.change),
        ("POST", "robots/{robot}/token", robots.rotate),
        ("DELETE", "robots/{robot}", robots.remove),
        ("GET", "grants", grants.show),
        ("POST", "grants", grants.add),
        ("DELETE", "grants", grants.remove),
    ):
        app.router.add_route(method, f"/api/v1/{path}", guard.allowed(handler, *PEOPLE))
