"""What a role on another machine asks the server, and what it makes of bad answers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from lumper.build.port import Login
from lumper.errors import LumperError, NotFound, ServerUnreachable, Unauthorized
from lumper.model.builds.secrets import GivenSecrets, Needed
from lumper.roles.remote import RemoteServer


@asynccontextmanager
async def server(status: int = 200, body: str = "") -> AsyncIterator[RemoteServer]:
    async def handle(request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == "Bearer t"
        return web.Response(status=status, text=body)

    app = web.Application()
    app.router.add_get("/api/v1/{path:.*}", handle)
    async with TestServer(app) as running, RemoteServer(f"{running.make_url('/')}", "t") as remote:
        yield remote


async def test_git_credentials_are_asked_for() -> None:
    async with server(body='{"username": "bot", "password": "hunter2"}') as remote:
        assert await remote.git_credentials("p1") == ("bot", "hunter2")
    async with server(body='{"username": "", "password": ""}') as remote:
        assert await remote.git_credentials("p1") is None


async def test_a_login_for_the_registry_is_asked_for() -> None:
    async with server(body='{"username": "_build-7-2", "password": "lmb_x"}') as remote:
        assert await remote.registry_login(7, 2) == Login("_build-7-2", "lmb_x", own=True)


async def test_a_log_is_read_whole() -> None:
    async with server(body="x" * 3_000_000) as remote:
        assert sum([len(piece) async for piece in remote.read_log(7, 2)]) == 3_000_000


@pytest.mark.parametrize(
    ("status", "error", "temporary", "hint"),
    [
        (401, Unauthorized, False, "token_file"),
        (403, Unauthorized, False, "token_file"),
        (404, NotFound, False, ""),
        (500, ServerUnreachable, True, "[connect] server"),
        (503, ServerUnreachable, True, "[connect] server"),
    ],
)
async def test_a_refusal_says_what_to_do(status: int, error: type[LumperError], temporary: bool, hint: str) -> None:
    async with server(status) as remote:
        with pytest.raises(error) as raised:
            await anext(remote.read_log(7, 1))
    assert raised.value.temporary is temporary
    assert hint in raised.value.hint
    assert "hunter2" not in raised.value.sentence


async def test_a_server_that_does_not_answer_is_a_temporary_error() -> None:
    async with RemoteServer("http://127.0.0.1:9", "t") as remote:
        with pytest.raises(ServerUnreachable, match="does not answer") as raised:
            await remote.git_credentials("p1")
    assert raised.value.temporary


async def test_something_else_at_that_address_is_told() -> None:
    async with server(body="<html>hello</html>") as remote:
        with pytest.raises(ServerUnreachable, match="is not a Lumper server"):
            await remote.git_credentials("p1")


async def test_what_an_attempt_is_given_is_asked_for_with_its_own_token() -> None:
    asked: list[tuple[str, str]] = []

    async def login(request: web.Request) -> web.Response:
        return web.json_response({"username": "_build-7-2", "password": "lmb_x"})

    async def secrets(request: web.Request) -> web.Response:
        asked.append((request.headers["Authorization"], request.query_string))
        body = {"values": {"npm": "eA=="}, "keys": {"default": "a2V5"}, "refused": ["z"], "registry": "r.example.org"}
        body |= {"taken": ["latest"]}
        return web.json_response({**body, "logins": {"docker.io": {"username": "bot", "password": "p"}}})

    app = web.Application()
    app.router.add_get("/api/v1/builds/7/login", login)
    app.router.add_get("/api/v1/builds/7/secrets", secrets)
    async with TestServer(app) as running, RemoteServer(f"{running.make_url('/')}", "t") as remote:
        given = await remote.entrust(7, 2, Needed(("npm", "a.b"), ("default",), taken=True))
    assert given == GivenSecrets(
        {"npm": b"x"},
        {"default": b"key"},
        {"docker.io": ("bot", "p")},
        frozenset({"z"}),
        "r.example.org",
        frozenset({"latest"}),
    )
    assert asked == [("Bearer lmb_x", "attempt=2&taken=1&value=npm&value=a.b&key=default")]
