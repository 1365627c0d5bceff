"""Registries and realms that lead us astray: where we do not sign in, and what is told of it."""

from __future__ import annotations

import pytest
from aiohttp import web

from lumper.errors import RemoteInvalid, RemoteUnauthorized, RemoteUnavailable
from lumper.registry.remote.auth import Credentials
from lumper.registry.remote.connection import RetryPolicy
from lumper.registry.remote.registry import RemoteRegistry
from parts.servers.http_server import serving

QUICK = RetryPolicy(attempts=2, longest=0.05, connect=60, idle=60)


async def test_only_the_registry_itself_sends_us_to_sign_in_and_only_once() -> None:
    asked: list[str] = []

    async def elsewhere(request: web.Request) -> web.Response:
        asked.append(f"elsewhere {request.path}")
        return web.Response(status=401, headers={"WWW-Authenticate": f'Bearer realm="{request.url.origin()}/token"'})

    async with serving(elsewhere) as other:

        async def registry(request: web.Request) -> web.Response:
            asked.append(request.path.rpartition("/")[2])
            if request.path == "/token":
                return web.json_response({"token": "t"})
            if request.path.endswith("/led"):
                return web.Response(status=307, headers={"Location": f"{other}/b"})
            return web.Response(
                status=401, headers={"WWW-Authenticate": f'Bearer realm="{request.url.origin()}/token"'}
            )

        async with serving(registry) as url:
            remote = RemoteRegistry(url, Credentials("me", "secret"), patience=QUICK)
            for reference in ("led", "never"):
                with pytest.raises(RemoteUnauthorized):
                    await remote.manifest("app", reference)
            await remote.close()
    assert asked == ["led", "elsewhere /b", "never", "token", "never"]


async def test_a_realm_that_does_not_answer_as_one_is_an_error_of_ours() -> None:
    answers = {"a": (200, "[]"), "b": (200, "no JSON"), "c": (403, '{"token": "t"}'), "d": (500, '{"token": "t"}')}

    async def registry(request: web.Request) -> web.Response:
        if request.path == "/token":
            status, text = answers[request.query["scope"].split(":")[1]]
            return web.Response(status=status, text=text)
        return web.Response(status=401, headers={"WWW-Authenticate": f'Bearer realm="{request.url.origin()}/token"'})

    async with serving(registry) as url:
        remote = RemoteRegistry(url, Credentials("me", "secret"), patience=QUICK)
        for name, error in zip(
            answers, (RemoteInvalid, RemoteInvalid, RemoteUnauthorized, RemoteUnavailable), strict=True
        ):
            with pytest.raises(error):
                await remote.manifest(name, "1")
        await remote.close()


async def test_a_registry_that_is_not_there_is_an_error_of_ours() -> None:
    async def nobody(_request: web.Request) -> web.Response:
        return web.Response()

    async with serving(nobody) as url:
        pass
    remote = RemoteRegistry(url, patience=QUICK)
    with pytest.raises(RemoteUnavailable, match=f"^{url.rpartition('/')[2]} cannot be reached"):
        await remote.manifest("app", "1")
    await remote.close()
