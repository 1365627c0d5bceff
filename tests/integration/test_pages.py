from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote

import aiohttp
import pytest
from yarl import URL

from lumper.history.tagging import move_tags
from lumper.model import events
from lumper.model.build import BuildState, Output, StepState
from lumper.model.deployment import Container, ContainerState, Port, RolloutState, Service
from lumper.model.image import Link, NewManifest
from lumper.model.source import Person, Verdict
from lumper.notify.port import Attachment, Message
from parts import deliveries
from parts.eventually import eventually
from parts.live_pages import COMMIT, PASSWORD, REGISTRY, LivePages, live_pages, step_lines

EVIL = '"><script>alert(1)</script>'
DIGEST = "sha256:" + "ab" * 32


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[LivePages]:
    async with live_pages(tmp_path) as found:
        yield found


@pytest.fixture
async def person(live: LivePages) -> AsyncIterator[aiohttp.ClientSession]:
    async with live.browser() as session:
        yield session


async def text_at(session: aiohttp.ClientSession, path: str, status: int = 200) -> str:
    async with session.get(path) as answer:
        text = await answer.text()
        assert answer.status == status, text
        return text


async def posted(
    session: aiohttp.ClientSession,
    path: str,
    form: dict[str, str] | None = None,
    headers: dict[str, str] | None = None,
) -> tuple[int, str, str]:
    """Status, location and text of the answer to a form."""
    async with session.post(path, data=form or {}, headers=headers, allow_redirects=False) as answer:
        return answer.status, answer.headers.get("Location", ""), await answer.text()


async def an_image(live: LivePages, repository: str, tags: list[str], build_id: int) -> None:
    await live.history.images.link_blob(repository, "sha256:" + "cd" * 32, 5 << 20)
    manifest = NewManifest(DIGEST, "application/vnd.oci.image.manifest.v1+json", 999, (Link(DIGEST, 5 << 20),))
    await live.history.images.put_manifest(repository, manifest, ["_build-1-1"])
    async with live.history.database.write() as connection:
        await move_tags(connection, repository, DIGEST, tags, build_id, datetime.now(UTC))


# Who may see what


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


async def test_signing_out_ends_the_session(live: LivePages, person: aiohttp.ClientSession) -> None:
    assert (await posted(person, "/logout"))[:2] == (303, "/login")
    async with person.get("/", allow_redirects=False) as answer:
        assert answer.status == 303


# The one-time link


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
        assert status == 400
        assert "used already" in text
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
    assert texts[0].replace("admin", "admix") == texts[1].replace("the first admin", "the first admix").replace(
        "Make the admin", "Make the admix"
    )


# What browsers are told


async def test_every_page_tells_browsers_what_to_refuse(live: LivePages, person: aiohttp.ClientSession) -> None:
    for path in ("/", "/login", "/nothing"):
        async with person.get(path) as answer:
            policy = answer.headers["Content-Security-Policy"]
            assert "default-src 'self'" in policy
            assert "unsafe" not in policy
            assert "frame-ancestors 'none'" in policy
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Cache-Control"] == "no-store"


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
    async with person.get("/v2/nothing", headers={"Accept": "text/html"}) as answer:
        assert "Content-Security-Policy" not in answer.headers
        assert "<html" not in await answer.text()


@pytest.mark.parametrize("query", ["before=x", "before=-1", "before=1e3", "before=" + "9" * 40])
async def test_a_number_that_is_none_is_a_bad_request(person: aiohttp.ClientSession, query: str) -> None:
    assert "must be a number" in await text_at(person, f"/?{query}", 400)


async def test_trouble_with_the_disk_is_a_page_with_words(live: LivePages, tmp_path: Path) -> None:
    (tmp_path / "mail").write_text("a file where a folder should be")
    async with live.browser() as session:
        text = await text_at(session, "/mail", 503)
    assert "Traceback" not in text
    assert "mail" in text


# Forms


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
    assert "http://lumper.example.org/hooks/github" in page
    assert "http://lumper.example.org/hooks/gitea" in page
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


# What the pages show


async def test_the_first_page_tells_the_first_steps(live: LivePages, person: aiohttp.ClientSession) -> None:
    assert "lumper project add" in await text_at(person, "/")
    await live.project()
    assert "The page of <a" in await text_at(person, "/")


async def test_builds_are_shown_by_pages_and_by_project(live: LivePages, person: aiohttp.ClientSession) -> None:
    shop, other = await live.project(), await live.project("https://git.example.org/acme/other.git")
    for number in range(60):
        await live.queued(shop if number % 2 else other, f"v1.0.{number}")
    page = await text_at(person, "/")
    assert len(re.findall(r'id="build-\d+"', page)) == 50
    (before,) = re.findall(r"before=(\d+)", page)
    assert len(re.findall(r'id="build-\d+"', await text_at(person, f"/?before={before}"))) == 10
    ours = await text_at(person, "/?project=acme/shop")
    assert (len(re.findall(r'id="build-\d+"', ours)), "before=" in ours) == (30, False)


async def test_a_build_that_succeeded_shows_image_and_rollout(live: LivePages, person: aiohttp.ClientSession) -> None:
    project = await live.project()
    build_id = await live.running(project)
    await an_image(live, project.image, ["1.4.2", "latest"], build_id)
    stages = {"checkout": 12, "build": 3456, "push": 78}
    build = await live.ended(
        build_id,
        BuildState.SUCCEEDED,
        digest=DIGEST,
        tags=["1.4.2", "latest"],
        elsewhere=["docker.io/team/shop:1.4.2", f"docker.io/{EVIL}"],
        stages=stages,
        author_name="Mara Okafor",
    )
    async with live.history.database.write() as connection:
        service = Service("shop", (Port(80, 8080),))
        rollout_id = await live.history.rollouts.queue(connection, service, project_id=project.id, build=build)
    await live.history.rollouts.progress(
        events.RolloutProgress(
            rollout_id, RolloutState.FAILED, 0, ("pulled", f"GET /{EVIL} said 502"), datetime.now(UTC), f"bad {EVIL}"
        )
    )
    page = await text_at(person, f"/builds/{build_id}")
    for words in (
        DIGEST,
        "Mara Okafor",
        "docker.io/team/shop:1.4.2",
        "3.5 s",
        "5.0 MiB",
        f"docker pull {REGISTRY}/acme/shop@{DIGEST}",
        COMMIT,
    ):
        assert words in page
    assert "said 502" in page
    assert EVIL not in page
    services = await text_at(person, "/services")
    assert "No container of it was seen" in services
    assert EVIL not in services


async def test_an_image_shows_its_versions_and_how_to_pull_them(live: LivePages, person: aiohttp.ClientSession) -> None:
    project = await live.project()
    build_id = await live.running(project)
    await an_image(live, project.image, ["1.4.2", "latest"], build_id)
    page = await text_at(person, "/images/acme/shop")
    assert f"docker pull {REGISTRY}/acme/shop:1.4.2" in page
    assert f"docker pull {REGISTRY}/acme/shop@{DIGEST}" in page
    assert f"/builds/{build_id}" in page
    assert "_build-" not in page
    assert "acme/shop" in await text_at(person, "/images")


async def test_what_runs_where_shows_every_container(live: LivePages, person: aiohttp.ClientSession) -> None:
    containers = (
        Container("1", "web", DIGEST, "h", 1, ContainerState.HEALTHY, version="v1", ports=(Port(80, 8080),)),
        Container(
            "2", f"evil{EVIL}", DIGEST, "h", 1, ContainerState.EXITED, version=EVIL, exit_code=137, accepted=False
        ),
    )
    await live.history.rollouts.observed(events.HostObserved("local", datetime.now(UTC), containers))
    page = await text_at(person, "/services")
    for words in ("127.0.0.1:8080 → 80/tcp", "exit 137", "on trial", "healthy"):
        assert words in page
    assert EVIL not in page


async def test_a_project_shows_its_own_deliveries(live: LivePages, person: aiohttp.ClientSession) -> None:
    shop, other = await live.project(), await live.project("https://git.example.org/acme/other.git")
    async with live.history.database.write() as connection:
        for project, reason in ((shop, f"mine {EVIL}"), (other, "not mine")):
            await live.history.deliveries.add(
                connection,
                project_id=project.id,
                forge="github",
                delivery_id="d1",
                event=f"push{EVIL}",
                headers={},
                body=b"{}",
                verdict=Verdict.IGNORED,
                reason=reason,
            )
    page = await text_at(person, "/projects/acme/shop")
    assert "mine &#34;&gt;&lt;script&gt;" in page
    assert "not mine" not in page
    assert EVIL not in page


async def test_a_delivery_is_shown_and_delivered_again(live: LivePages, person: aiohttp.ClientSession) -> None:
    project = await live.project("https://github.com/Demo/hello.git")
    request = deliveries.fixture("github/push_annotated_tag", note=EVIL)
    async with live.history.database.write() as connection:
        await live.history.deliveries.add(
            connection,
            project_id=project.id,
            forge="github",
            delivery_id="d1",
            event="push",
            headers={**request.headers, "user-agent": EVIL},
            body=request.body,
            verdict=Verdict.IGNORED,
            reason=f"Then it was ignored. {EVIL}",
        )
    assert "Then it was ignored" in await text_at(person, "/deliveries")
    assert "Then it was ignored" in await text_at(person, "/deliveries?project=Demo/hello")
    page = await text_at(person, "/deliveries/1")
    assert "&#34;after&#34;: &#34;" in page
    assert EVIL not in page
    async with person.get("/deliveries/1/body") as saved:
        assert await saved.read() == request.body
        assert saved.headers["Content-Disposition"].startswith("attachment")
    status, there, _ = await posted(person, "/deliveries/1/replay")
    assert (status, there) == (303, "/builds/1")
    status, there, _ = await posted(person, "/deliveries/1/replay")
    assert (status, there) == (303, "/deliveries/1")
    assert "build 1 is of the same commit of this ref" in (await text_at(person, "/deliveries/1")).lower()


async def test_hostile_names_are_only_text_on_every_page(live: LivePages, person: aiohttp.ClientSession) -> None:
    project = await live.project(name=f"acme/{EVIL}", image="acme/evil")
    build_id = await live.queued(project, f"v1{EVIL}", f"0{EVIL}", Person(EVIL, f"{EVIL}@example.org"))
    await live.taken(build_id)
    await live.ended(
        build_id, BuildState.FAILED, error=f"bad {EVIL}", hint=f"try `{EVIL}`", author_name=EVIL, worker=EVIL
    )
    await live.say(build_id, step_lines(1, EVIL, [EVIL], StepState.FAILED))
    for path in ("/", f"/builds/{build_id}", "/projects", f"/projects/{project.id}", "/images", "/services"):
        page = await text_at(person, path)
        assert "<script>alert" not in page, path
    async with person.get(f"/builds/{build_id}/log.txt") as answer:
        assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert EVIL in await answer.text()


async def test_mails_are_read_without_trusting_them(live: LivePages, person: aiohttp.ClientSession) -> None:
    html = f"<h1>Hello</h1>{EVIL}"
    file = Attachment("../evil.html", "text/html", b"<script>alert(1)</script>")
    await live.mail.send(
        Message("build-1", ("mara@example.org",), f"Build {EVIL}", "text", html, datetime.now(UTC), (file,))
    )
    (link,) = set(re.findall(r'href="(/mail/[^"]+)"', await text_at(person, "/mail")))
    page = await text_at(person, link)
    assert "<script>alert" not in page
    assert '<iframe class="mail" sandbox src=' in page
    async with person.get(f"{link}/html") as answer:
        assert answer.headers["Content-Security-Policy"].startswith("sandbox; default-src 'none'")
        assert "<h1>Hello</h1>" in await answer.text()
    async with person.get(f"{link}/files/0") as answer:
        assert answer.headers["Content-Disposition"].startswith("attachment;")
        assert answer.content_type == "application/octet-stream"
        assert await answer.read() == file.data
    await text_at(person, f"{link}/files/1", 404)


# Streams


async def events_of(answer: aiohttp.ClientResponse) -> AsyncIterator[dict[str, str]]:
    event: dict[str, str] = {}
    async for raw in answer.content:
        line = raw.decode().rstrip("\n")
        if line:
            name, _, value = line.partition(":")
            event[name] = f"{event[name]}\n{value.strip()}" if name in event else value.strip()
        elif event:
            if event.keys() & {"data", "event"}:
                yield event
            event = {}


async def test_the_log_streams_while_it_grows_and_ends_with_the_build(
    live: LivePages, person: aiohttp.ClientSession
) -> None:
    build_id = await live.running(await live.project())
    await live.say(build_id, step_lines(1, "RUN one", ["first"]))
    async with person.get(f"/builds/{build_id}/log/stream") as answer:
        assert answer.content_type == "text/event-stream"
        stream = events_of(answer)
        first = await anext(stream)
        assert "first" in first["data"]
        assert int(first["id"]) == await live.history.logs.size(build_id, 1)
        await live.say(build_id, [Output(1, 1, 1.0, "second\r\nevent: end")])
        second = await anext(stream)
        assert second["data"] == '{"s":1,"o":1,"x":"second\\r","t":1.0}\n{"s":1,"o":1,"x":"event: end","t":1.0}'
        await live.ended(build_id, BuildState.FAILED)
        end = await anext(stream)
        assert (end["event"], '"state": "failed"' in end["data"]) == ("end", True)
        assert [event async for event in stream] == []
    async with person.get(f"/builds/{build_id}/log/stream", headers={"Last-Event-ID": first["id"]}) as answer:
        resumed = [event async for event in events_of(answer)]
        assert [event.get("id") for event in resumed] == [second["id"], None]
    async with person.get(f"/builds/{build_id}/log/stream?from={second['id']}") as answer:
        assert [event["event"] async for event in events_of(answer)] == ["end"]


async def test_an_attempt_that_another_one_follows_ends_its_stream(
    live: LivePages, person: aiohttp.ClientSession
) -> None:
    build_id = await live.running(await live.project())
    await live.say(build_id, step_lines(1, "RUN one", ["of the first attempt"]))
    async with person.get(f"/builds/{build_id}/log/stream?attempt=1") as answer:
        stream = events_of(answer)
        await anext(stream)
        await live.history.builds.online(events.WorkerOnline("builder-1", "another boot"))
        live.history.logs.wake()
        end = await anext(stream)
        assert '"attempt": 2' in end["data"]
    assert "attempt=1#log" in await text_at(person, f"/builds/{build_id}")
    assert "of the first attempt" in await text_at(person, f"/builds/{build_id}/log.txt?attempt=1")
    assert await text_at(person, f"/builds/{build_id}/log.txt") == ""


@pytest.mark.parametrize("header", ["x", "-1", "1" * 30, "1.5"])
async def test_an_offset_that_is_none_is_a_bad_request(
    live: LivePages, person: aiohttp.ClientSession, header: str
) -> None:
    build_id = await live.queued(await live.project())
    async with person.get(f"/builds/{build_id}/log/stream", headers={"Last-Event-ID": header}) as answer:
        assert answer.status == 400


async def test_pages_hear_of_every_change(live: LivePages, person: aiohttp.ClientSession) -> None:
    async with person.get("/events") as answer:
        stream = events_of(answer)
        assert (await anext(stream))["event"] == "change"
        await live.project()
        assert (await anext(stream))["event"] == "change"


async def test_open_streams_end_when_the_server_does(tmp_path: Path) -> None:
    async with live_pages(tmp_path) as live:
        build_id = await live.running(await live.project())
        session = await live_session(live)
        answers = [await session.get(path) for path in ("/events", f"/builds/{build_id}/log/stream")]
        begun = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - begun < 50  # and not after the time limit for that
    await eventually(lambda: _ended(answers))
    await session.close()


async def live_session(live: LivePages) -> aiohttp.ClientSession:
    session = aiohttp.ClientSession(live.url, cookie_jar=aiohttp.CookieJar(unsafe=True), headers={"Origin": live.url})
    await posted(session, "/login", {"name": "admin", "password": PASSWORD})
    return session


async def _ended(answers: list[aiohttp.ClientResponse]) -> bool:
    for answer in answers:
        await answer.content.read()
    return all(answer.content.at_eof() for answer in answers)
