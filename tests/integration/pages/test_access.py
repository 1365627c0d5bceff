"""The pages about accounts and about what was done: for administrators; a user has a page and tokens of their own."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from lumper.model.builds.build import Output
from lumper.model.people.people import Role
from parts.web.live_pages import PASSWORD, LivePages, live_pages


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[LivePages]:
    async with live_pages(tmp_path) as pages:
        await pages.history.accounts.create_user("ann", PASSWORD, Role.USER)
        yield pages


class Browser:
    """Somebody who is signed in."""

    def __init__(self, live: LivePages) -> None:
        self._url = live.url
        self._session = aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True))

    async def __aenter__(self) -> Browser:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def get(self, path: str) -> tuple[int, str]:
        async with self._session.get(self._url + path) as answer:
            return answer.status, await answer.text()

    async def post(self, path: str, origin: str = "", **form: str) -> tuple[int, str]:
        headers = {"Origin": origin} if origin else {}
        async with self._session.post(self._url + path, data=form, headers=headers, allow_redirects=False) as answer:
            return answer.status, await answer.text()


async def sign_in(browser: Browser, name: str, password: str = PASSWORD) -> int:
    status, _ = await browser.post("/login", name=name, password=password)
    return status


def token_on(page: str) -> str:
    found = re.search(r"lmp_[\w-]{40,}", page)
    assert found is not None, page
    return found[0]


async def test_an_admin_adds_grants_changes_and_removes(live: LivePages) -> None:
    accounts = live.history.accounts
    async with Browser(live) as admin:
        assert await sign_in(admin, "admin") == 303
        assert (await admin.post("/access/users", name="bob", password=PASSWORD, role="user"))[0] == 303
        status, page = await admin.post("/access/robots", name="ci", days="30")
        assert status == 200
        token = token_on(page)
        found = await accounts.verify_token(token)
        assert found is not None
        assert found.identity.name == "ci"
        assert token not in (await admin.get("/access"))[1]

        assert (await admin.post("/access/grants", account="ci", repository="team/*", **{"allow-push": "1"}))[0] == 303
        assert "team/*" in (await admin.get("/access"))[1]
        assert (await admin.post("/access/grants/remove", account="ci", repository="team/*"))[0] == 303
        assert await accounts.grants.all() == []

        assert token_on((await admin.post("/access/robots/rotate", name="ci"))[1]) != token
        assert await accounts.verify_token(token) is None
        assert (await admin.post("/access/robots/change", name="ci", disabled="1"))[0] == 303
        assert [robot.disabled for robot in await accounts.robots()] == [True]
        assert (await admin.post("/access/users/change", name="bob", role="admin"))[0] == 303
        assert (await admin.post("/access/users/password", name="bob", password="another " + PASSWORD))[0] == 303
        assert await accounts.verify_password("bob", "another " + PASSWORD) is not None
        for path, name in (("/access/users/remove", "bob"), ("/access/robots/remove", "ci")):
            assert (await admin.post(path, name=name))[0] == 303
            assert (await admin.post(path, name=name))[0] == 400
        assert (await admin.post("/access/tokens/remove", name="builder-1"))[0] == 303

        _, page = await admin.get("/audit?action=robot")
        assert page.index("ci: removed") < page.index("ci: another token") < page.index("ci: added as robot")
        assert token not in page
        _, page = await admin.get("/audit?actor=admin&action=sign-in")
        assert page.count(">sign-in<") >= 1
        assert (await admin.get("/audit?action=nothing"))[0] == 400


@pytest.mark.parametrize(
    ("path", "form", "words"),
    [
        ("/access/users", {"name": "a b", "password": PASSWORD}, "is not a name"),
        ("/access/users", {"name": "bob", "password": "short"}, "at least 8"),
        ("/access/robots", {"name": "ann"}, "a user ann already"),
        ("/access/robots", {"name": "ci", "days": "0"}, "from 1 to"),
        ("/access/grants", {"account": "ann", "repository": "<script>", "allow-pull": "1"}, "is not a pattern"),
        ("/access/grants", {"account": "ann", "repository": "a"}, "Name what is allowed"),
        ("/access/grants", {"account": "nobody", "repository": "a", "allow-pull": "1"}, "no account nobody"),
    ],
)
async def test_what_is_wrong_is_said_on_the_page(live: LivePages, path: str, form: dict[str, str], words: str) -> None:
    async with Browser(live) as admin:
        await sign_in(admin, "admin")
        status, page = await admin.post(path, **form)
        assert status == 400
        assert words in page
        assert "<script>" not in page.split("<main", 1)[1]


async def test_a_form_of_another_site_changes_nothing(live: LivePages) -> None:
    async with Browser(live) as admin:
        await sign_in(admin, "admin")
        for path in ("/access/users/remove", "/me/tokens"):
            assert (await admin.post(path, origin="http://evil.example", name="ann"))[0] == 403
    assert [user.name for user in await live.history.accounts.users()] == ["admin", "ann"]


async def test_a_user_sees_their_builds_and_images_and_nothing_else(live: LivePages) -> None:
    project = await live.project()
    build = await live.running(project)
    await live.say(build, [Output(1, 1, 0.0, "hello")])
    async with Browser(live) as ann:
        assert await sign_in(ann, "ann") == 303
        assert "acme/shop" not in (await ann.get("/"))[1]
        hidden = (f"/builds/{build}", f"/builds/{build}/log.txt", f"/builds/{build}/log/stream", "/images/acme/shop")
        for path in hidden:
            assert (await ann.get(path))[0] == 404, path

        await live.history.accounts.grants.add("ann", "acme/*", ["pull"])
        status, page = await ann.get(f"/builds/{build}")
        assert (status, "Cancel" in page, "/projects/" in page) == (200, False, False)
        assert "acme/shop" in (await ann.get("/"))[1]
        assert "hello" in (await ann.get(f"/builds/{build}/log.txt"))[1]
        for path in ("/access", "/audit", "/services", "/projects", "/projects/acme/shop", "/mail"):
            status, page = await ann.get(path)
            assert (status, "for administrators" in page) == (403, True), path
        for path in (f"/builds/{build}/cancel", "/access/users", "/access/grants", "/projects"):
            assert (await ann.post(path, name="x"))[0] == 403, path
        _, page = await ann.get("/")
        assert 'href="/access"' not in page


async def test_a_user_changes_their_password_and_makes_tokens(live: LivePages) -> None:
    accounts = live.history.accounts
    async with Browser(live) as ann:
        await sign_in(ann, "ann")
        form = {"name": "laptop", "repository": "team/* other", "days": "9", "allow-pull": "1"}
        status, page = await ann.post("/me/tokens", **form)
        assert status == 200
        token = token_on(page)
        found = await accounts.verify_token(token)
        assert found is not None
        assert [limit.repository for limit in found.identity.limits or ()] == ["team/*", "other"]
        assert token not in (await ann.get("/me"))[1]
        assert (await ann.post("/me/tokens/remove", name="builder-1"))[0] == 400
        assert (await ann.post("/me/password", old="wrong one", password="another " + PASSWORD))[0] == 400

        async with Browser(live) as program:
            assert await sign_in(program, "", token) == 303
            _, page = await program.get("/me")
            assert ("laptop" in page, 'action="/me/' in page) == (False, False)
            assert (await program.post("/me/tokens", name="more"))[0] == 400
            assert (await program.post("/me/password", old=token, password="mine " + PASSWORD))[0] == 400
            assert (await program.post("/me/tokens/remove", name="laptop"))[0] == 400

        assert (await ann.post("/me/password", old=PASSWORD, password="another " + PASSWORD))[0] == 303
        _, page = await ann.get("/me")
        assert "Sign in" in page
        assert await sign_in(ann, "ann", "another " + PASSWORD) == 303
        assert (await ann.post("/me/tokens/remove", name="laptop"))[0] == 303
        assert await accounts.verify_token(token) is None


async def test_refused_sign_ins_are_told_and_bounded(live: LivePages) -> None:
    async with Browser(live) as stranger:
        for n in range(4):
            assert await sign_in(stranger, "ann", f"guess {n}") == 401
    rows = await live.history.activity.activities(actor="ann")
    assert [(row.action, row.actor.role, row.actor.address) for row in rows] == [("refused", "", "127.0.0.1")] * 4
    assert "guess" not in str(rows)
