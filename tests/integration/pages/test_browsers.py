"""What browsers are told, and what becomes of what they ask for or send that nobody should."""

from __future__ import annotations

import re
from pathlib import Path

import aiohttp
import pytest
from yarl import URL

from lumper.model.builds.build import BuildState
from parts.web.live_api import Api
from parts.web.live_pages import LivePages, posted, text_at

EVIL = '"><script>alert(1)</script>'


async def test_every_page_tells_browsers_what_to_refuse(person: aiohttp.ClientSession) -> None:
    for path in ("/", "/login", "/nothing"):
        async with person.get(path) as answer:
            policy = answer.headers["Content-Security-Policy"]
            assert "default-src 'self'" in policy
            assert "unsafe" not in policy
            assert "frame-ancestors 'none'" in policy
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Cache-Control"] == "no-store"


async def test_streams_and_redirects_have_the_headers_of_pages(live: LivePages, person: aiohttp.ClientSession) -> None:
    build_id = await live.running(await live.project())
    for path in ("/events", f"/builds/{build_id}/log.txt", f"/builds/{build_id}/log/stream", "/builds"):
        async with person.get(path, allow_redirects=False) as answer:
            assert "default-src 'self'" in answer.headers["Content-Security-Policy"], path
            assert answer.headers["Cache-Control"] == "no-store", path


async def test_answers_for_programs_have_no_headers_of_pages(api: Api) -> None:
    for path in ("/v2/", "/v2/nothing", "/v2/a/tags/list", "/api/v1/status", "/api/v1/nothing", "/metrics", "/healthz"):
        async with api.session.get(api.url + path, headers={"Accept": "text/html"}) as answer:
            assert "Content-Security-Policy" not in answer.headers, path
            assert "<html" not in await answer.text(), path
    async with api.session.post(f"{api.url}/hooks/github/a/b", data=b"{}") as answer:
        assert (answer.status, "Content-Security-Policy" in answer.headers) == (401, False)


@pytest.mark.parametrize(
    ("method", "path", "allow"), [("POST", "/images", "GET,HEAD"), ("PUT", "/builds/1/cancel", "POST")]
)
async def test_method_that_a_page_does_not_take_is_told(
    person: aiohttp.ClientSession, method: str, path: str, allow: str
) -> None:
    async with person.request(method, path, headers={"Accept": "*/*"}) as answer:
        assert (answer.status, answer.headers["Allow"]) == (405, allow)
    async with person.request(method, path, headers={"Accept": "text/html"}) as answer:
        assert answer.status == 405
        assert "There is no such page" in await answer.text()


async def test_nothing_on_a_page_is_inline_or_from_elsewhere(live: LivePages, person: aiohttp.ClientSession) -> None:
    project = await live.project()
    build_id = await live.running(project)
    for path in ("/", f"/builds/{build_id}", "/images", "/services", "/projects", "/projects/acme/shop", "/mail"):
        page = await text_at(person, path)
        assert not re.search(r"<style|style=|\son\w+=|javascript:|<script(?! (type=\"module\" )?src=\"/static/)", page)
        assert not re.search(r"(src|href)=\"(https?:)?//", page)
        for asset in set(re.findall(r'(?:src|href)="(/static/[^"#]+)', page)):
            async with person.get(asset) as answer:
                assert answer.status == 200
                assert "immutable" in answer.headers["Cache-Control"]


@pytest.mark.parametrize("name", ["nothing.js", "../pages.py", "%2e%2e/pages.py", "../../../../etc/passwd"])
async def test_static_files_are_only_those_of_the_folder(live: LivePages, name: str) -> None:
    address = URL(f"{live.url}/static/x/{name}", encoded=True)
    async with live.browser(signed_in=False) as session, session.get(address) as answer:
        assert answer.status == 404


async def test_a_page_that_is_not_there_is_a_page_for_browsers_only(
    live: LivePages, person: aiohttp.ClientSession
) -> None:
    assert "There is no such page" in await text_at(person, "/nothing", 404)
    assert "There is no build 99" in await text_at(person, "/builds/99", 404)
    assert "no attempt 7" in await text_at(person, f"/builds/{await live.queued(await live.project())}?attempt=7", 404)
    assert "There is no image" in await text_at(person, "/images/Not/Legal", 404)
    assert "There is no such mail" in await text_at(person, "/mail/..%2f..%2fetc", 404)


@pytest.mark.parametrize("query", ["before=x", "before=-1", "before=1e3", "before=" + "9" * 40])
async def test_a_number_that_is_none_is_a_bad_request(person: aiohttp.ClientSession, query: str) -> None:
    assert "must be a number" in await text_at(person, f"/?{query}", 400)


async def test_an_odd_address_of_the_page_before_changes_nothing(person: aiohttp.ClientSession) -> None:
    for referer in ("http://[", "http://[::1]]/", "//"):
        for path in ("/images/nothing", "/no-such-page"):
            async with person.get(path, headers={"Referer": referer}) as answer:
                assert answer.status == 404, (path, referer, await answer.text())


async def test_trouble_with_the_disk_is_a_page_with_words(live: LivePages, tmp_path: Path) -> None:
    (tmp_path / "mail").write_text("a file where a folder should be")
    async with live.browser() as session:
        text = await text_at(session, "/mail", 503)
    assert "Traceback" not in text
    assert "mail" in text


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://lumper.example.org"},
    ],
)
async def test_forms_of_other_sites_change_nothing(
    live: LivePages, person: aiohttp.ClientSession, headers: dict[str, str]
) -> None:
    build_id = await live.queued(await live.project())
    for path in (f"/builds/{build_id}/cancel", "/projects", "/logout", "/login", "/setup"):
        status, _, text = await posted(person, path, {"url": "https://git.example.org/a/b.git"}, headers)
        assert status == 403
        assert "sent by another site" in text
    assert (await live.history.builds.get(build_id)).state is BuildState.QUEUED
    assert len(await live.history.projects.all()) == 1
    await text_at(person, "/")


async def test_behind_a_proxy_that_changes_the_host_the_public_address_is_ours(
    live: LivePages, person: aiohttp.ClientSession
) -> None:
    build_id = await live.queued(await live.project())
    headers = {"Origin": "http://lumper.example.org"}
    assert (await posted(person, f"/builds/{build_id}/cancel", headers=headers))[0] == 303


async def test_a_build_is_cancelled_and_built_again(live: LivePages, person: aiohttp.ClientSession) -> None:
    build_id = await live.queued(await live.project())
    assert (await posted(person, f"/builds/{build_id}/cancel"))[:2] == (303, f"/builds/{build_id}")
    assert "Build again" in await text_at(person, f"/builds/{build_id}")
    referer = f"{live.url}/builds/{build_id}"
    status, _, text = await posted(person, f"/builds/{build_id}/cancel", headers={"Referer": referer})
    assert (status, "has ended already" in text) == (409, True)
    assert f'href="/builds/{build_id}">Back' in text
    assert (await posted(person, f"/builds/{build_id}/restart"))[0] == 303
    build = await live.history.builds.get(build_id)
    assert (build.state, build.attempt) == (BuildState.QUEUED, 2)


async def test_a_project_is_added_with_all_that_the_forge_needs(live: LivePages, person: aiohttp.ClientSession) -> None:
    url = "https://bot:s3cr3t-token@git.example.org/acme/My%20App.git"
    status, _, text = await posted(person, "/projects", {"url": url})
    assert status == 400
    url = "https://bot:s3cr3t-token@git.example.org/acme/My-App.git"
    assert (await posted(person, "/projects", {"url": url}))[:2] == (303, "/projects/acme/My-App")
    page = await text_at(person, "/projects/acme/My-App")
    project = await live.history.projects.get("acme/My-App")
    assert "s3cr3t-token" not in page
    assert await live.history.projects.webhook_secret(project.id) in page
    assert "http://lumper.example.org/hooks/github/acme/My-App" in page
    assert "http://lumper.example.org/hooks/gitea/acme/My-App" in page
    status, _, text = await posted(person, "/projects", {"url": url})
    assert (status, "already" in text) == (400, True)


@pytest.mark.parametrize(
    ("url", "word"),
    [("/srv/git/app", "--allow-local"), ("ext::sh -c id", "https://"), ("-u", "https://"), (EVIL, "//")],
)
async def test_what_is_no_address_of_a_forge_is_refused_with_a_hint(
    live: LivePages, person: aiohttp.ClientSession, url: str, word: str
) -> None:
    status, _, text = await posted(person, "/projects", {"url": url})
    assert (status, word in text) == (400, True)
    assert "<script>alert" not in text
    assert await live.history.projects.all() == []
