"""The API's view of what builds are given: set and listed by people, read by nobody but the attempt of a build.

GET    /api/v1/secrets?project=           PUT {project, kind, name, value, username, branches}
DELETE /api/v1/secrets?project=&kind=&name=
GET    /api/v1/builds/{id}/secrets?attempt=&value=&key=      value and key come once for each name,
                                                             taken=1 asks for the tags of higher versions
"""

from __future__ import annotations

import base64
import binascii
from typing import Literal

from aiohttp import web
from pydantic import BaseModel, ConfigDict, SecretStr

from lumper.errors import Conflict, Invalid
from lumper.line.secrets import Secrets
from lumper.model.builds.secrets import Kind, Needed, Secret
from lumper.model.images.image import private_tag
from lumper.model.links import Links
from lumper.model.people.people import PEOPLE, Role
from lumper.web.api.answers import answer
from lumper.web.api.guard import Guard, asking, identity_of
from lumper.web.api.openapi import describe
from lumper.web.api.parameters import body_of, flag, id_of, number
from lumper.web.api.schemas import Credentials, Named, Number


class NewSecret(BaseModel):
    """The body of PUT /api/v1/secrets. `value` is in base64; without a project it is of all of them."""

    model_config = ConfigDict(extra="forbid")

    project: str = ""
    kind: Kind = Kind.VALUE
    name: str
    value: SecretStr
    username: str = ""
    branches: tuple[str, ...] = ()


class Entrusted(BaseModel):
    """What an attempt of a build is given: values and keys in base64, credentials by registry."""

    values: dict[str, str]
    keys: dict[str, str]
    logins: dict[str, Credentials]
    refused: list[str]
    registry: str
    taken: list[str]


class SecretRoutes:
    """The handlers."""

    def __init__(self, secrets: Secrets, links: Links) -> None:
        self._secrets = secrets
        self._links = links

    @describe(list[Secret], query={"project": str})
    async def show_all(self, request: web.Request) -> web.Response:
        """What builds are given, of all projects or of one, without the values."""
        return answer(await self._secrets.all(request.query.get("project", "")))

    @describe(Secret, body=NewSecret)
    async def set(self, request: web.Request) -> web.Response:
        """Keep a secret, in place of one of this name."""
        new = await body_of(request, NewSecret)
        try:
            value = base64.b64decode(new.value.get_secret_value(), validate=True)
        except (binascii.Error, ValueError) as exc:
            raise Invalid("The value is not in base64.") from exc
        made = await self._secrets.set(
            new.project,
            new.kind,
            new.name,
            value,
            username=new.username,
            branches=new.branches,
            actor=asking(request),
        )
        return answer(made)

    @describe(Named, query={"project": str, "kind": Kind, "name": str})
    async def remove(self, request: web.Request) -> web.Response:
        """Forget a secret."""
        name, kind = request.query.get("name", ""), request.query.get("kind", Kind.VALUE)
        if kind not in set(Kind):
            raise Invalid(f"kind must be one of {', '.join(Kind)}.")
        await self._secrets.remove(request.query.get("project", ""), Kind(kind), name, asking(request))
        return answer({"name": name})

    @describe(Entrusted, query={"attempt": Number, "value": list[str], "key": list[str], "taken": Literal["0", "1"]})
    async def entrust(self, request: web.Request) -> web.Response:
        """For an attempt of a build, with its own token, until it has ended: what it is given."""
        build_id, attempt = id_of(request), number(request, "attempt", 0)
        if identity_of(request).name != private_tag(build_id, attempt):
            raise Conflict(f"This is not the token of attempt {attempt} of build {build_id}.")
        values, keys = request.query.getall("value", []), request.query.getall("key", [])
        needed = Needed(tuple(values), tuple(keys), flag(request, "taken"))
        found = await self._secrets.entrusted(build_id, attempt, needed)
        shown = {
            "values": {name: base64.b64encode(value).decode() for name, value in found.values.items()},
            "keys": {name: base64.b64encode(value).decode() for name, value in found.keys.items()},
            "logins": {host: {"username": who, "password": what} for host, (who, what) in found.logins.items()},
            "refused": sorted(found.refused),
            "registry": self._links.registry,
            "taken": sorted(found.taken),
        }
        given = answer(shown)
        given.headers["Cache-Control"] = "no-store"
        return given


def add_routes(app: web.Application, guard: Guard, secrets: Secrets, links: Links) -> None:
    """Serve the part of the API about secrets."""
    routes = SecretRoutes(secrets, links)
    app.router.add_get("/api/v1/secrets", guard.allowed(routes.show_all, *PEOPLE), allow_head=False)
    app.router.add_put("/api/v1/secrets", guard.allowed(routes.set, *PEOPLE))
    app.router.add_delete("/api/v1/secrets", guard.allowed(routes.remove, *PEOPLE))
    one = r"/api/v1/builds/{id:\d{1,18}}/secrets"
    app.router.add_get(one, guard.allowed(routes.entrust, Role.BUILD), allow_head=False)
