"""What the pages show of builds, images, services, deliveries and mails, and that it is only text."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import aiohttp

from lumper.forges.port import Request
from lumper.model import events
from lumper.model.builds.build import BuildState, StepState
from lumper.model.deployment import Container, ContainerState, Port, RolloutState, Service
from lumper.model.images.image import Link, NewManifest
from lumper.model.source import Person
from lumper.notify.port import Attachment, Message
from lumper.registry.catalog.tagging import move_tags
from parts.git import deliveries
from parts.web.live_pages import COMMIT, REGISTRY, LivePages, posted, step_lines, text_at

EVIL = '"><script>alert(1)</script>'
DIGEST = "sha256:" + "ab" * 32


async def an_image(live: LivePages, repository: str, tags: list[str], build_id: int) -> None:
    await live.history.images.link_blob(repository, "sha256:" + "cd" * 32, 5 << 20)
    manifest = NewManifest(DIGEST, "application/vnd.oci.image.manifest.v1+json", 999, (Link(DIGEST, 5 << 20),))
    await live.history.images.put_manifest(repository, manifest, ["_build-1-1"])
    async with live.history.database.write() as connection:
        await move_tags(connection, repository, DIGEST, tags, build_id, datetime.now(UTC))


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
    for project, reason in ((shop, f"mine {EVIL}"), (other, "not mine")):
        await deliveries.keep(live.history, project.id, Request({}, b"{}"), reason, event=f"push{EVIL}")
    page = await text_at(person, "/projects/acme/shop")
    assert "mine &#34;&gt;&lt;script&gt;" in page
    assert "not mine" not in page
    assert EVIL not in page


async def test_a_delivery_is_shown_and_delivered_again(live: LivePages, person: aiohttp.ClientSession) -> None:
    project = await live.project("https://github.com/Demo/hello.git")
    request = deliveries.fixture("github/push_annotated_tag", note=EVIL)
    evil = Request({**request.headers, "user-agent": EVIL}, request.body)
    await deliveries.keep(live.history, project.id, evil, f"Then it was ignored. {EVIL}")
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
