"""Limits of the registry as clients meet them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from lumper.model.people.people import Role
from lumper.web.auth.rate_limits import RateLimits
from parts.registries.live_registry import LiveRegistry, RegistryClient, live_registry
from parts.servers.own_address import own_address

pytestmark = pytest.mark.system


@pytest.fixture
def stranger() -> Iterator[str]:
    with own_address() as address:
        yield address


Serve = Callable[..., Awaitable[tuple[LiveRegistry, Callable[[Role | None], RegistryClient]]]]


@pytest.fixture
async def serve(tmp_path: Path) -> AsyncIterator[Serve]:
    """Serve a registry with these options; a client for a role, or without an account."""
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession())

        async def served(**options: Any) -> tuple[LiveRegistry, Callable[[Role | None], RegistryClient]]:
            live = await stack.enter_async_context(live_registry(tmp_path, **options))
            return live, lambda role: RegistryClient(session, live.url, live.tokens[role] if role else "")

        yield served


async def refused(client: RegistryClient, most: int, path: str = "/v2/") -> tuple[int, dict[str, str]]:
    """How many requests were answered before the first 429, and that one's headers."""
    for count in range(most):
        async with client.request("GET", path) as response:
            if response.status == 429:
                assert (await response.json())["errors"][0]["code"] == "TOOMANYREQUESTS"
                return count, dict(response.headers)
    raise AssertionError("none was refused")


async def test_an_account_that_asks_too_much_waits_and_others_do_not(serve: Serve) -> None:
    live, client = await serve(limits=RateLimits(account=0.5, clock=lambda: 0.0))
    count, headers = await refused(client(Role.ADMIN), 10)
    assert count == 5
    assert headers["Retry-After"] == "2"
    assert headers["RateLimit-Remaining"] == "0;w=10"
    assert headers["Docker-Distribution-Api-Version"] == "registry/2.0"
    form = {"grant_type": "refresh_token", "refresh_token": live.tokens[Role.ADMIN]}
    assert await client(None).status("POST", "/v2/token", data=form) == 429
    assert await client(Role.OPERATOR).status("GET", "/v2/") == 200
    async with aiohttp.ClientSession() as session:
        alike = await live.accounts.ensure_token("another", Role.ADMIN, live.data / "another")
        assert await RegistryClient(session, live.url, alike).status("GET", "/v2/") == 200
    for own in (Role.WORKER, Role.DEPLOYER, Role.MAILER, Role.BUILD):
        assert {await client(own).status("GET", "/v2/") for _ in range(20)} == {200}


async def test_a_flood_without_an_account_does_not_shut_out_who_has_one(serve: Serve, stranger: str) -> None:
    live, client = await serve(host=stranger, limits=RateLimits(anonymous=0.5, clock=lambda: 0.0))
    async with aiohttp.ClientSession() as session:
        guessing = RegistryClient(session, live.url, "lmp_guessed")
        assert (await refused(guessing, 10))[0] == 5
        assert await guessing.status("GET", "/v2/token") == 429
        form = {"grant_type": "refresh_token", "refresh_token": "guessed"}
        assert await guessing.status("POST", "/v2/token", data=form) == 429
    assert (await refused(client(None), 10))[0] == 0
    assert (await refused(client(None), 10, "/v2/token"))[0] == 0
    assert await client(Role.ADMIN).status("GET", "/v2/") == 200


async def test_who_pulls_is_told_how_often_it_still_may(serve: Serve) -> None:
    _, client = await serve(limits=RateLimits(pulls=2, window=600, clock=lambda: 0.0))
    admin = client(Role.ADMIN)
    await admin.push_image("team/app", "1")
    seen = []
    for method in ("HEAD", "GET", "HEAD", "GET", "GET", "HEAD"):
        async with admin.request(method, "/v2/team/app/manifests/1") as response:
            seen.append((response.status, response.headers["RateLimit-Remaining"]))
    assert [status for status, _ in seen] == [200, 200, 200, 200, 429, 200]
    assert [left.removesuffix(";w=600") for _, left in seen] == ["2", "1", "1", "0", "0", "0"]
    assert await admin.status("GET", "/v2/team/app/tags/list") == 200
