"""People and robots of a served application, what is granted to them, and the registry as they see it."""

from __future__ import annotations

from typing import Any

from lumper.model.people.people import Role
from parts.registries.live_registry import RegistryClient, digest_of
from parts.web.live_api import Answer, Api, basic

PASSWORD = "correct horse battery"


def registry(api: Api, token: str = "", name: str = "", password: str = "") -> RegistryClient:
    """The registry for a token, or for a name and a password."""
    client = RegistryClient(api.session, api.url, token)
    if name:
        client._headers = basic(name, password)
    return client


def admin(api: Api) -> RegistryClient:
    return registry(api, api.tokens[Role.ADMIN])


async def ask_as(api: Api, name: str, method: str, path: str, body: object = None, password: str = PASSWORD) -> Answer:
    return await api.ask(method, path, body, role=None, headers=basic(name, password))


async def user(api: Api, name: str = "ann") -> None:
    """A user without grants."""
    made = await api.ask("POST", "/users", {"name": name, "password": PASSWORD})
    assert (made.status, made.body["role"]) == (201, "user")


async def grant(api: Api, account: str, repository: str, *allow: str) -> Answer:
    return await api.ask("POST", "/grants", {"account": account, "repository": repository, "allow": allow})


async def robot(api: Api, name: str = "ci", **more: Any) -> str:
    made = await api.ask("POST", "/robots", {"name": name, **more})
    assert made.status == 201, made.body
    return str(made.body["token"])


async def scoped(api: Api, name: str, password: str, *scopes: str) -> RegistryClient:
    """A client with a registry token for these scopes."""
    query = [("service", "lumper"), *(("scope", scope) for scope in scopes)]
    async with api.session.get(f"{api.url}/v2/token", params=query, headers=basic(name, password)) as response:
        assert response.status == 200, await response.text()
        return registry(api, (await response.json())["token"])


async def statuses(client: RegistryClient, repository: str, digest: str) -> list[int]:
    """Of a pull, the beginning of a push, and a delete of what is not there."""
    return [
        await client.status("GET", f"/v2/{repository}/manifests/{digest}"),
        await client.status("POST", f"/v2/{repository}/blobs/uploads/"),
        await client.status("DELETE", f"/v2/{repository}/manifests/{digest_of(b'nothing')}"),
    ]


async def names(client: RegistryClient, path: str) -> list[str]:
    async with client.request("GET", path) as response:
        assert response.status == 200, await response.text()
        body = await response.json()
    return list(body.get("repositories", body.get("tags")))
