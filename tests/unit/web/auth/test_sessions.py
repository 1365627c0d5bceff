"""The session cookie, over a real server: signed in by a password, and out by changing it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from lumper.accounts.accounts import Accounts
from lumper.errors import Unauthorized
from lumper.model.people.people import Identity, Role
from lumper.store.database import Database
from lumper.web.auth.authenticator import SESSION_COOKIE, Authenticator, TokenScope
from lumper.web.auth.csrf import same_origin
from lumper.web.auth.signed_tokens import Keys
from parts.registries.live_registry import PASSWORD


class Site:
    """Three pages: sign in, sign out, and who am I."""

    def __init__(self, accounts: Accounts, authenticator: Authenticator) -> None:
        self.accounts = accounts
        self.authenticator = authenticator
        self.url = ""

    async def sign_in(self, request: web.Request) -> web.Response:
        identity = await self.authenticator.login("admin", await request.text(), request.remote or "")
        response = web.Response()
        self.authenticator.open_session(request, response, identity)
        return response

    async def sign_out(self, _request: web.Request) -> web.Response:
        response = web.Response()
        self.authenticator.close_session(response)
        return response

    async def who(self, request: web.Request) -> web.Response:
        try:
            identity = await self.authenticator.identify(request)
        except Unauthorized:
            return web.json_response("refused")
        own = same_origin(request)
        return web.json_response({"who": identity and [identity.name, identity.role], "own": own})


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    database = Database(f"sqlite:///{tmp_path}/lumper.db")
    await database.migrate()
    accounts = Accounts(database)
    await accounts.create_user("admin", PASSWORD, Role.OPERATOR)
    served = Site(accounts, Authenticator(accounts, Keys(tmp_path / "token.key")))
    app = web.Application()
    app.router.add_post("/in", served.sign_in)
    app.router.add_post("/out", served.sign_out)
    app.router.add_get("/who", served.who)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    served.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield served
    await runner.cleanup()
    await database.close()


@pytest.fixture
async def browser() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        yield session


async def who(browser: aiohttp.ClientSession, site: Site, **headers: str) -> object:
    async with browser.get(f"{site.url}/who", headers=headers) as response:
        answer = await response.json()
        return answer["who"] if isinstance(answer, dict) else answer


async def test_a_session_lasts_until_it_is_closed(site: Site, browser: aiohttp.ClientSession) -> None:
    assert await who(browser, site) is None

    async with browser.post(f"{site.url}/in", data=PASSWORD) as response:
        cookie = response.headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Lax" in cookie
        assert "Secure" not in cookie  # it came by http
    assert await who(browser, site) == ["admin", "operator"]

    await browser.post(f"{site.url}/out")
    assert await who(browser, site) is None


async def test_a_new_password_ends_older_sessions(site: Site, browser: aiohttp.ClientSession) -> None:
    await browser.post(f"{site.url}/in", data=PASSWORD)
    assert await who(browser, site) == ["admin", "operator"]

    await site.accounts.set_password("admin", "another password")
    assert await who(browser, site) is None

    await browser.post(f"{site.url}/in", data="another password")
    assert await who(browser, site) == ["admin", "operator"]
    await site.accounts.delete_user("admin")
    assert await who(browser, site) is None


async def test_a_forged_cookie_is_as_good_as_none(site: Site, tmp_path: Path) -> None:
    claims = {"sub": "admin", "by": "password:x"}
    foreign = Keys(tmp_path / "another.key").sign("lumper-session", claims, 60)
    for value in ("x", "a.b.c", foreign):
        async with aiohttp.ClientSession(cookies={SESSION_COOKIE: value}) as session:
            assert await who(session, site) is None


async def test_the_registry_token_opens_no_page(site: Site, browser: aiohttp.ClientSession) -> None:
    token = site.authenticator.registry_token(TokenScope(Identity("admin", Role.ADMIN), {}))

    assert await who(browser, site, Authorization=f"Bearer {token}") == "refused"
    async with aiohttp.ClientSession(cookies={SESSION_COOKIE: token}) as session:
        assert await who(session, site) is None


@pytest.mark.parametrize(
    ("headers", "own"),
    [
        ({}, True),
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "none"}, True),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Origin": "http://evil.example"}, False),
        ({"Origin": "null"}, False),
    ],
)
async def test_requests_of_other_sites_are_told_from_our_own(
    site: Site, browser: aiohttp.ClientSession, headers: dict[str, str], own: bool
) -> None:
    async with browser.get(f"{site.url}/who", headers=headers) as response:
        assert (await response.json())["own"] is own
    async with browser.get(f"{site.url}/who", headers={"Origin": site.url}) as response:
        assert (await response.json())["own"] is True
