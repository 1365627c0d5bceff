"""What builds are given, on the page of a project: set and removed by administrators, and shown without the values."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from lumper.model.builds.secrets import Kind
from lumper.model.people.people import Role
from lumper.model.source import parse_git_url
from parts.web.live_pages import PASSWORD, LivePages, live_pages

VALUE = "s3cr3t-of-npm"


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[LivePages]:
    async with live_pages(tmp_path) as pages:
        await pages.history.projects.add(parse_git_url("https://git.example.org/owner/app.git"))
        await pages.history.accounts.create_user("ann", PASSWORD, Role.USER)
        yield pages


class Browser:
    """Somebody who is signed in."""

    def __init__(self, live: LivePages, session: aiohttp.ClientSession) -> None:
        self._url = live.url
        self._session = session

    async def page(self) -> str:
        async with self._session.get(f"{self._url}/projects/owner/app") as answer:
            return await answer.text()

    async def post(self, path: str, origin: str = "", **form: str) -> tuple[int, str]:
        headers = {"Origin": origin} if origin else {}
        sent = self._session.post(self._url + path, data=form, headers=headers, allow_redirects=False)
        async with sent as answer:
            return answer.status, answer.headers.get("Location", "") or await answer.text()


async def signed_in(live: LivePages, session: aiohttp.ClientSession, name: str) -> Browser:
    browser = Browser(live, session)
    await browser.post("/login", name=name, password=PASSWORD)
    return browser


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as opened:
        yield opened


async def test_an_admin_sets_and_removes_them_and_no_page_has_a_value(
    live: LivePages, session: aiohttp.ClientSession
) -> None:
    admin = await signed_in(live, session, "admin")
    assert "No secrets, ssh keys or logins yet" in await admin.page()
    mine = {"project": "owner/app", "value": f"{VALUE}\r\n"}
    back = (303, "/projects/owner/app#secrets")
    assert await admin.post("/secrets", **mine, kind="value", name="npm", branches="main, x<b>") == back
    key = "-----BEGIN PRIVATE KEY-----\r\nMC4CAQAw\r\n-----END PRIVATE KEY-----\r\n"
    assert await admin.post("/secrets", **{**mine, "value": key}, kind="ssh", name="") == back
    assert await admin.post("/secrets", **mine, kind="login", name="docker.io", username="bot") == back
    page = await admin.page()
    assert VALUE not in page
    assert "<code>main</code>, <code>x&lt;b&gt;</code>" in page
    kept = await live.history.secrets.all("owner/app")
    assert [(one.kind, one.name, one.changed_by) for one in kept] == [
        (Kind.LOGIN, "docker.io", "admin"),
        (Kind.SSH, "default", "admin"),
        (Kind.VALUE, "npm", "admin"),
    ]
    for one in kept:
        assert await admin.post("/secrets/remove", project="owner/app", kind=one.kind, name=one.name, own="1") == back
    assert await live.history.secrets.all() == []


async def test_what_is_wrong_is_said_and_the_value_is_not_repeated(
    live: LivePages, session: aiohttp.ClientSession
) -> None:
    admin = await signed_in(live, session, "admin")
    for form in (
        {"project": "owner/app", "kind": "value", "name": "a b"},
        {"project": "owner/app", "kind": "x", "name": "a"},
        {"project": "", "kind": "value", "name": "a"},
        {"project": "no/such", "kind": "value", "name": "a"},
    ):
        status, page = await admin.post("/secrets", **form, value=VALUE)
        assert 400 <= status < 500, (form, status)
        assert VALUE not in page
    assert await live.history.secrets.all() == []


async def test_nobody_else_sets_them(live: LivePages, session: aiohttp.ClientSession) -> None:
    form = {"project": "owner/app", "kind": "value", "name": "npm", "value": VALUE}
    user = await signed_in(live, session, "ann")
    assert (await user.post("/secrets", **form))[0] == 403
    session.cookie_jar.clear()
    admin = await signed_in(live, session, "admin")
    assert (await admin.post("/secrets", origin="https://evil.example", **form))[0] == 403
    assert await live.history.secrets.all() == []
