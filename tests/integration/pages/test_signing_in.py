"""Who may see what, and the link that makes the first admin."""

from __future__ import annotations

import re
from urllib.parse import unquote

import aiohttp
import pytest

from lumper.model.builds.build import BuildState
from parts.web.live_pages import PASSWORD, LivePages, posted, text_at

EVIL = '"><script>alert(1)</script>'


@pytest.mark.parametrize(
    "path",
    ["/builds/1", "/builds/1/log.txt", "/images", "/images/a", "/services", "/projects", "/mail", "/mail/x/html"],
)
async def test_who_is_not_signed_in_is_sent_to_sign_in_and_comes_back(live: LivePages, path: str) -> None:
    async with live.browser(signed_in=False) as session, session.get(path, allow_redirects=False) as answer:
        assert answer.status == 303
        assert unquote(answer.headers["Location"]) == f"/login?next={path}"
        assert "Cache-Control" in answer.headers


@pytest.mark.parametrize("path", ["/events", "/builds/1/log/stream"])
async def test_event_streams_are_refused_without_a_session(live: LivePages, path: str) -> None:
    headers = {"Accept": "text/event-stream"}
    async with live.browser(signed_in=False) as session, session.get(path, headers=headers) as answer:
        assert answer.status == 401


@pytest.mark.parametrize("path", ["/projects", "/builds/1/cancel", "/builds/1/restart"])
async def test_a_form_without_a_session_leads_to_signing_in(live: LivePages, path: str) -> None:
    build_id = await live.queued(await live.project())
    async with live.browser(signed_in=False) as session:
        form = {"url": "https://git.example.org/acme/other.git"}
        assert (await posted(session, path, form))[:2] == (303, "/login")
    assert (await live.history.builds.get(build_id)).state is BuildState.QUEUED
    assert len(await live.history.projects.all()) == 1


async def test_tokens_of_programs_do_not_open_the_pages(live: LivePages) -> None:
    async with live.browser(signed_in=False) as session:
        status, _, text = await posted(session, "/login", {"name": "", "password": live.worker_token})
        assert status == 401
        assert "for programs" in text
        bearer = {"Authorization": f"Bearer {live.worker_token}"}
        async with session.get("/projects", headers=bearer) as answer:
            assert answer.status == 403


async def test_a_wrong_password_says_so_and_keeps_the_name(live: LivePages) -> None:
    async with live.browser(signed_in=False) as session:
        form = {"name": f"admin{EVIL}", "password": "wrong", "next": "//evil.example/"}
        status, _, text = await posted(session, "/login", form)
        assert status == 401
        assert "not right" in text
        assert "admin&#34;&gt;&lt;script&gt;" in text
        assert "evil.example" not in text


async def test_signing_in_goes_on_to_where_one_wanted(live: LivePages) -> None:
    async with live.browser(signed_in=False) as session:
        form = {"name": "admin", "password": PASSWORD, "next": "/images"}
        assert (await posted(session, "/login", form))[:2] == (303, "/images")
        await text_at(session, "/images")


async def test_signing_out_ends_the_session(person: aiohttp.ClientSession) -> None:
    assert (await posted(person, "/logout"))[:2] == (303, "/login")
    async with person.get("/", allow_redirects=False) as answer:
        assert answer.status == 303


async def test_the_setup_link_works_once_and_looking_at_it_does_not_use_it_up(live: LivePages) -> None:
    token = await live.history.accounts.create_setup_token()
    form = {"token": token, "name": "captain", "password": "long enough pw"}
    async with live.browser(signed_in=False) as session:
        assert token in await text_at(session, f"/setup?token={token}")
        assert (await posted(session, "/setup", form | {"password": "123456789"}))[0] == 400
        assert (await posted(session, "/setup", form | {"name": "no spaces please"}))[0] == 400
        assert (await posted(session, "/setup", form))[:2] == (303, "/")
        assert "captain" in await text_at(session, "/")
        status, _, text = await posted(session, "/setup", form | {"name": "second"})
        assert status == 403
        assert "works once" in text
        assert await text_at(session, f"/setup?token={token}", 403) == await text_at(session, "/setup", 403)
    assert [user.name for user in await live.history.accounts.users()] == ["admin", "captain"]


async def test_a_setup_link_with_a_name_that_is_taken_is_given_again(live: LivePages) -> None:
    token = await live.history.accounts.create_setup_token()
    form = {"token": token, "name": "admin", "password": "long enough pw"}
    async with live.browser(signed_in=False) as session:
        status, _, text = await posted(session, "/setup", form)
        assert status == 400
        assert "There is a user admin already" in text
        (again,) = re.findall(r'name="token" value="([^"]+)"', text)
        assert again != token
        assert (await posted(session, "/setup", form | {"token": again, "name": "other"}))[0] == 303


async def test_without_the_link_nobody_learns_which_users_there_are(live: LivePages) -> None:
    async with live.browser(signed_in=False) as session:
        texts = [
            (await posted(session, "/setup", {"token": "x", "name": name, "password": "long enough pw"}))[2]
            for name in ("admin", "admix")
        ]
    assert texts[0] == texts[1]


@pytest.mark.parametrize("address", ["/setup", "/setup?token=", "/setup?token=wrong"])
async def test_setup_without_the_link_is_refused_and_says_where_the_link_is(live: LivePages, address: str) -> None:
    async with live.browser(signed_in=False) as session:
        text = await text_at(session, address, 403)
    assert "<form" not in text
    assert "The server prints it when it starts" in text
    assert "lumper user add NAME --role admin" in text
