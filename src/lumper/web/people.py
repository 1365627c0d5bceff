"""The API's view of people with a password: who may sign in, and as what. For administrators and the operator."""

from __future__ import annotations

from aiohttp import web
from pydantic import BaseModel, ConfigDict, SecretStr

from lumper.history.accounts import Accounts, User
from lumper.model.people import Role
from lumper.web.api import PEOPLE, Api, answer, body_of
from lumper.web.openapi import describe
from lumper.web.shapes import Named


class NewUser(BaseModel):
    """The body of POST /api/v1/users."""

    model_config = ConfigDict(extra="forbid")

    name: str
    password: SecretStr


class NewPassword(BaseModel):
    """The body of PUT /api/v1/users/{user}/password."""

    model_config = ConfigDict(extra="forbid")

    password: SecretStr


class MadeUser(BaseModel):
    """Who was let in, and as what."""

    name: str
    role: Role


class People:
    """The handlers."""

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
        await self._accounts.create_user(new.name, new.password.get_secret_value(), Role.ADMIN)
        return answer({"name": new.name, "role": Role.ADMIN}, 201)

    @describe(Named, body=NewPassword)
    async def set_password(self, request: web.Request) -> web.Response:
        """Give somebody another password; their sessions end."""
        new = await body_of(request, NewPassword)
        await self._accounts.set_password(request.match_info["user"], new.password.get_secret_value())
        return answer({"name": request.match_info["user"]})

    @describe(Named)
    async def remove(self, request: web.Request) -> web.Response:
        """Let somebody in no more."""
        await self._accounts.delete_user(request.match_info["user"])
        return answer({"name": request.match_info["user"]})


def add_routes(app: web.Application, api: Api, accounts: Accounts) -> None:
    """Serve the part of the API about people."""
    people = People(accounts)
    app.router.add_get("/api/v1/users", api.allowed(people.show, *PEOPLE))
    app.router.add_post("/api/v1/users", api.allowed(people.add, *PEOPLE))
    app.router.add_put("/api/v1/users/{user}/password", api.allowed(people.set_password, *PEOPLE))
    app.router.add_delete("/api/v1/users/{user}", api.allowed(people.remove, *PEOPLE))
