"""The token flow of OAuth 2, which containerd and BuildKit try before Docker's own."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest

from lumper.model.images.activity import AuditAction
from lumper.model.people.people import Role
from lumper.registry.access import Anonymous
from parts.registries.live_registry import PASSWORD, LiveRegistry, RegistryClient, live_registry

SCOPE = "repository:a:pull,push"


@pytest.fixture
def anyone(live: LiveRegistry, session: aiohttp.ClientSession) -> RegistryClient:
    return RegistryClient(session, live.url)


def password_form(**more: str) -> dict[str, str]:
    return {
        "grant_type": "password",
        "service": "lumper",
        "client_id": "test",
        "username": "admin",
        "password": PASSWORD,
        "scope": SCOPE,
        **more,
    }


async def ask(anyone: RegistryClient, form: Any) -> tuple[int, dict[str, Any]]:
    async with anyone.request("POST", "/v2/token", data=form) as response:
        if response.status == 200:
            assert response.headers["Cache-Control"] == "no-store"
        return response.status, await response.json()


async def test_a_password_in_a_form_buys_a_token_that_reaches_as_far_as_asked(
    live: LiveRegistry, session: aiohttp.ClientSession, anyone: RegistryClient
) -> None:
    status, answer = await ask(anyone, password_form())

    assert status == 200
    assert answer["scope"] == SCOPE
    assert answer["token_type"] == "Bearer"
    claims = json.loads(base64.urlsafe_b64decode(answer["token"].split(".")[1] + "=="))
    assert answer["expires_in"] == claims["exp"] - claims["iat"] >= 60  # as long as that some clients keep it
    assert "refresh_token" not in answer
    client = RegistryClient(session, live.url, answer["access_token"])
    await client.begin("a")
    assert await client.refusal("POST", "/v2/b/blobs/uploads/") == (401, "UNAUTHORIZED")


async def test_an_api_token_is_taken_in_place_of_the_password_and_of_the_refresh_token(
    live: LiveRegistry, anyone: RegistryClient
) -> None:
    token = live.tokens[Role.DEPLOYER]
    status, answer = await ask(anyone, password_form(username="any", password=token, access_type="offline"))
    assert (status, answer["scope"], answer["refresh_token"]) == (200, "repository:a:pull", token)

    status, answer = await ask(anyone, {"grant_type": "refresh_token", "refresh_token": token, "scope": SCOPE})
    assert (status, answer["scope"]) == (200, "repository:a:pull")


async def test_several_scopes_come_in_one_field_or_in_several(anyone: RegistryClient) -> None:
    form = [*password_form(scope=f"{SCOPE} repository:b:pull").items(), ("scope", "registry:catalog:*")]

    _, answer = await ask(anyone, form)

    assert answer["scope"] == "repository:a:pull,push repository:b:pull registry:catalog:*"


async def test_a_refresh_token_takes_the_place_of_the_password_until_that_changes(
    live: LiveRegistry, anyone: RegistryClient
) -> None:
    _, first = await ask(anyone, password_form(access_type="offline"))
    refresh = {"grant_type": "refresh_token", "refresh_token": first["refresh_token"], "scope": SCOPE}
    status, answer = await ask(anyone, refresh)
    assert (status, answer["scope"], answer["refresh_token"]) == (200, SCOPE, first["refresh_token"])

    await live.accounts.set_password("admin", "another password")

    status, answer = await ask(anyone, refresh)
    assert (status, answer["error"], answer["errors"][0]["code"]) == (401, "invalid_grant", "UNAUTHORIZED")


async def test_no_other_token_is_a_refresh_token_nor_that_one_anything_else(
    live: LiveRegistry, session: aiohttp.ClientSession, anyone: RegistryClient
) -> None:
    _, first = await ask(anyone, password_form(access_type="offline"))
    claims = {"sub": "admin", "role": "admin", "pwd": ""}
    for wrong in (
        first["access_token"],
        live.keys.sign("lumper-session", claims, 300),
        live.keys.sign("lumper-refresh", claims, 300),
        live.keys.sign("lumper-refresh", {**claims, "sub": "nobody"}, -1),
        "x",
        "",
    ):
        status, _ = await ask(anyone, {"grant_type": "refresh_token", "refresh_token": wrong})
        assert status == 401, wrong
    bearer = RegistryClient(session, live.url, first["refresh_token"])
    assert await bearer.refusal("GET", "/v2/") == (401, "UNAUTHORIZED")


async def test_a_wrong_password_is_refused_and_guessing_slowed_down(
    tmp_path: Path, session: aiohttp.ClientSession
) -> None:
    async with live_registry(tmp_path, clock=lambda: 0.0) as live:
        anyone = RegistryClient(session, live.url)
        statuses = [(await ask(anyone, password_form(password=f"guess {n}")))[0] for n in range(6)]

        assert statuses == [401] * 5 + [429]
        refused = await live.registry.metadata.activities(action=AuditAction.REFUSED)
        assert [(one.actor.name, one.actor.address) for one in refused] == [("admin", "127.0.0.1")] * 5


@pytest.mark.parametrize(
    ("form", "error"),
    [
        (password_form(grant_type="authorization_code"), "unsupported_grant_type"),
        ({"service": "lumper"}, "unsupported_grant_type"),
        (password_form(service="other"), "invalid_request"),
    ],
)
async def test_what_is_not_understood_is_told_in_the_words_of_oauth(
    anyone: RegistryClient, form: dict[str, str], error: str
) -> None:
    status, answer = await ask(anyone, form)

    assert status == 400
    assert answer.get("error") == error
    assert answer["error_description"] == answer["errors"][0]["message"]
    assert answer["errors"][0]["code"] == "UNSUPPORTED"


async def test_a_form_that_is_none_is_refused(anyone: RegistryClient) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield large

    form, large = "application/x-www-form-urlencoded", urlencode(password_form(more="x" * 70_000)).encode()
    for media_type, body in (
        ("application/json", urlencode(password_form()).encode()),
        (form, large),
        (form, pieces()),
        (form, b"a=%ff"),
        (form, b"&".join([b"a=1"] * 200)),
    ):
        refused = await anyone.refusal("POST", "/v2/token", data=body, headers={"Content-Type": media_type})
        assert refused == (400, "UNSUPPORTED")


NO_CREDENTIALS: list[tuple[str, dict[str, Any]]] = [
    ("GET", {}),
    ("GET", {"headers": {"Authorization": "Basic"}}),
    ("GET", {"headers": {"Authorization": "Basic Og=="}}),  # no name and no password, as clients without a login send
    ("POST", {"data": password_form(username="", password="")}),
]


@pytest.mark.parametrize(("method", "given"), NO_CREDENTIALS)
@pytest.mark.parametrize(
    ("anonymous", "granted"), [("none", ""), ("pull", "repository:a:pull"), ("push", "repository:a:pull,push")]
)
async def test_request_without_credentials_gets_a_token_with_anonymous_rights(
    tmp_path: Path,
    session: aiohttp.ClientSession,
    method: str,
    given: dict[str, Any],
    anonymous: Anonymous,
    granted: str,
) -> None:
    async with live_registry(tmp_path, anonymous=anonymous) as live:
        anyone = RegistryClient(session, live.url)
        for _ in range(10):  # more than the failed sign-ins that are answered at once
            async with anyone.request(method, "/v2/token", params={"scope": SCOPE}, **given) as response:
                assert response.status == 200
                answer = await response.json()
        assert answer["scope"] == granted
        assert "refresh_token" not in answer
        assert not await live.registry.metadata.activities(action=AuditAction.REFUSED)
        client = RegistryClient(session, live.url, answer["token"])
        assert await client.status("POST", "/v2/a/blobs/uploads/") == (202 if anonymous == "push" else 401)
        assert await client.status("GET", "/v2/a/tags/list") == (401 if anonymous == "none" else 404)


async def test_anonymous_token_that_does_not_suffice_is_told_so(live: LiveRegistry, anyone: RegistryClient) -> None:
    async with anyone.request("GET", "/v2/token", params={"scope": SCOPE}) as response:
        token = (await response.json())["token"]
    async with anyone.request("GET", "/v2/a/tags/list", headers={"Authorization": f"Bearer {token}"}) as response:
        assert response.status == 401  # and not 403: a login may help
        assert 'error="insufficient_scope"' in response.headers["WWW-Authenticate"]
