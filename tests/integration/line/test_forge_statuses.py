"""A project's forge, played by a server of the test's own: its webhook is made, and it hears of every build."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from aiohttp import web

from lumper.errors import ForgeUnavailable
from lumper.forges.all import open_forges
from lumper.forges.client import ForgeClient
from lumper.forges.statuses import status_of
from lumper.model.builds.build import BuildState
from lumper.model.events import STATUSES, StatusDue
from lumper.model.links import Links
from lumper.model.source import Push
from lumper.queue.codec import decode
from lumper.roles.forge import ForgeDesk
from parts.git import deliveries
from parts.servers.http_server import serving
from parts.web.live_api import Api

TOKEN = "forge-token-of-the-test"
HOOK = "http://lumper.example.org/hooks/gitea"


@dataclass
class Forge:
    """Speaks Gitea's API, and delivers where it was told when a test delivery is asked for."""

    api: Api
    status: int = 201
    webhook: dict[str, Any] = field(default_factory=dict)
    asked: list[tuple[str, str, Any]] = field(default_factory=list)
    url: str = ""

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.json() if request.can_read_body else None
        self.asked.append((request.method, request.path, body))
        if request.headers.get("Authorization") != f"token {TOKEN}":
            return web.json_response({"message": "token is required"}, status=401)
        if request.path.endswith("/tests"):
            await self._deliver()
        return web.json_response({"id": 7, **self.webhook}, status=self.status)

    async def _deliver(self) -> None:
        secret = [body["config"]["secret"] for _, path, body in self.asked if path.endswith("/hooks")][-1]
        signed = deliveries.fixture("gitea/push_branch", secret=secret)
        async with self.api.session.post(
            f"{self.api.url}/hooks/gitea/Demo/hello", data=signed.body, headers=dict(signed.headers)
        ) as answer:
            assert answer.status == 200

    @property
    def states(self) -> list[str]:
        return [body["state"] for _, path, body in self.asked if "/statuses/" in path]


@asynccontextmanager
async def forge_of(api: Api) -> AsyncIterator[Forge]:
    forge = Forge(api)
    async with serving(forge.answer) as forge.url:
        yield forge


@pytest.fixture
async def forge(api: Api) -> AsyncIterator[Forge]:
    async with forge_of(api) as played:
        yield played


async def connect(api: Api, forge: Forge, token: str = TOKEN) -> Any:
    project = await api.project("https://git.example.org/Demo/hello.git")
    body = {"token": token, "forge": "gitea", "url": forge.url}
    return project, await api.ask("PUT", f"/projects/{project['name']}/forge", body)


def desk_of(api: Api) -> ForgeDesk:
    return ForgeDesk(api.history, Links("https://lumper.example.org", "x", "x"), open_forges(), ForgeClient())


async def due(api: Api) -> list[int]:
    """The builds of which the forge is to hear, out of the outbox."""
    payloads = [decode(message.body) for message in await api.history.outbox.pending() if message.topic == STATUSES]
    return [payload.build_id for payload in payloads if isinstance(payload, StatusDue)]


async def test_a_webhook_is_made_and_its_first_delivery_comes(api: Api, forge: Forge) -> None:
    project, answer = await connect(api, forge)
    assert (answer.status, answer.body["pings"]) == (200, True)
    _, path, body = forge.asked[0]
    assert path == "/api/v1/repos/Demo/hello/hooks"
    assert body["config"]["url"] == f"{HOOK}/Demo/hello"
    assert body["config"]["secret"] == project["secret"]
    [delivery] = (await api.ask("GET", "/deliveries")).body
    assert (delivery["project"], delivery["verdict"]) == ("Demo/hello", "ignored")
    shown = (await api.ask("GET", "/projects/Demo/hello")).body
    assert TOKEN not in json.dumps([shown, (await api.ask("GET", "/projects")).body])
    assert (shown["forge"], shown["forge_url"]) == ("gitea", forge.url)


async def test_a_token_that_is_not_accepted_is_told_and_not_kept(api: Api, forge: Forge) -> None:
    _, answer = await connect(api, forge, "wrong")
    assert (answer.status, "the token is not accepted" in answer.error) == (502, True)
    project = await api.history.projects.get("Demo/hello")
    assert (project.forge, (await api.history.projects.with_forge_token(project.id))[1]) == ("", "")


async def test_another_secret_of_lumper_s_making_is_given_to_the_forge_by_a_new_webhook(api: Api, forge: Forge) -> None:
    project, _ = await connect(api, forge)
    forge.asked.clear()
    renewed = (await api.ask("PUT", "/projects/Demo/hello/secret", {})).body
    assert renewed["renewed"] is True
    assert renewed["secret"] != project["secret"]
    assert [(method, path) for method, path, _ in forge.asked] == [
        ("DELETE", "/api/v1/repos/Demo/hello/hooks/7"),
        ("POST", "/api/v1/repos/Demo/hello/hooks"),
    ]
    assert forge.asked[-1][2]["config"]["secret"] == renewed["secret"]
    given = (await api.ask("PUT", "/projects/Demo/hello/secret", {"secret": "the-forge-s-own-secret"})).body
    assert (given["renewed"], len(forge.asked)) == (False, 2)


async def test_who_connects_again_gets_no_second_webhook(api: Api, forge: Forge) -> None:
    await connect(api, forge)
    forge.asked.clear()
    body = {"token": TOKEN, "forge": "gitea", "url": forge.url}
    assert (await api.ask("PUT", "/projects/Demo/hello/forge", body)).status == 200
    assert [method for method, path, _ in forge.asked if "/tests" not in path] == ["DELETE", "POST"]


@pytest.mark.parametrize("status", [204, 404, 503])
async def test_a_project_goes_with_the_webhook_that_was_made_for_it_whatever_the_forge_says(
    api: Api, forge: Forge, status: int
) -> None:
    await connect(api, forge)
    forge.asked.clear()
    forge.status = status
    assert (await api.ask("DELETE", "/projects/Demo/hello")).status == 200
    assert forge.asked == [("DELETE", "/api/v1/repos/Demo/hello/hooks/7", None)]
    assert (await api.ask("GET", "/projects")).body == []


@pytest.mark.parametrize(
    ("status", "told", "state"),
    [
        (200, {"active": True, "config": {"url": f"{HOOK}/Demo/hello"}}, "there"),
        (200, {"active": True, "config": {"url": HOOK}}, "there"),
        (200, {"active": False, "config": {"url": f"{HOOK}/Demo/hello"}}, "off"),
        (200, {"active": False, "config": {"url": HOOK}}, "off"),
        (200, {"active": True, "config": {"url": f"{HOOK}/Demo/other"}}, "elsewhere"),
        (200, {"active": True, "config": {"url": "http://old.example.org/hooks/gitea"}}, "elsewhere"),
        (404, {}, "gone"),
        (503, {}, "unknown"),
        (403, {}, "unknown"),
    ],
)
async def test_the_forge_is_asked_for_the_webhook_and_the_last_delivery_is_told(
    api: Api, forge: Forge, status: int, told: dict[str, Any], state: str
) -> None:
    await connect(api, forge)
    forge.status, forge.webhook = status, told
    found = (await api.ask("GET", "/projects/Demo/hello/forge")).body
    assert forge.asked[-1] == ("GET", "/api/v1/repos/Demo/hello/hooks/7", None)
    assert (found["webhook"], found["forge"], found["forge_url"]) == (state, "gitea", forge.url)
    assert found["delivery"]["verdict"] == "ignored"
    assert found["words"]
    assert TOKEN not in json.dumps(found)


async def test_of_a_project_without_a_forge_no_webhook_can_be_told(api: Api) -> None:
    await api.project("https://git.example.org/Demo/hello.git")
    found = (await api.ask("GET", "/projects/Demo/hello/forge")).body
    assert (found["webhook"], found["hook"], found["delivery"]) == ("unknown", "", None)


async def test_a_forge_without_statuses_is_not_said_to_hear_of_builds(api: Api, forge: Forge) -> None:
    await api.project("https://git.example.org/Demo/hello.git")
    body = {"token": TOKEN, "forge": "gogs", "url": forge.url}
    told = (await api.ask("PUT", "/projects/Demo/hello/forge", body)).body
    assert (told["statuses"], told["pings"]) == (False, False)


async def test_a_forge_that_cannot_be_reached_is_told(api: Api) -> None:
    project = await api.project("https://git.example.org/Demo/hello.git")
    body = {"token": TOKEN, "forge": "gitea", "url": "http://127.0.0.1:1"}
    answer = await api.ask("PUT", f"/projects/{project['name']}/forge", body)
    assert (answer.status, "--forge-url" in answer.body["hint"]) == (502, True)


@pytest.mark.parametrize(
    "body", [{"token": "x"}, {"token": "two words", "forge": "gitea"}, {"token": "x", "forge": "y"}]
)
async def test_what_does_not_name_a_forge_is_refused(api: Api, forge: Forge, body: dict[str, str]) -> None:
    project = await api.project("https://git.example.org/Demo/hello.git")
    answer = await api.ask("PUT", f"/projects/{project['name']}/forge", {"url": forge.url, **body})
    assert answer.status in (400, 404)


async def test_the_forge_hears_how_each_build_stands(api: Api, forge: Forge) -> None:
    await connect(api, forge)
    desk = desk_of(api)
    await queued(api)
    assert await due(api) == [1]
    await desk.handle(StatusDue(1))
    await api.start(1)
    await desk.handle(StatusDue(1))
    await api.ask("POST", "/builds/1/cancel")
    assert forge.states == ["pending", "pending"]
    assert len(await due(api)) == 2
    _, path, body = forge.asked[-1]
    assert path == f"/api/v1/repos/Demo/hello/statuses/{'b' * 40}"
    assert (body["context"], body["target_url"]) == ("lumper/demo/hello:v1.0.0", "https://lumper.example.org/builds/1")


async def queued(api: Api, ref: str = "refs/tags/v1.0.0") -> int:
    """A build of the project is queued."""
    project = await api.history.projects.get("Demo/hello")
    async with api.history.database.write() as connection:
        build, _ = await api.history.builds.queue(connection, project, Push(project.repository, ref, "b" * 40))
    return build


async def test_tags_of_one_commit_have_a_status_each_and_branches_one_that_a_rule_of_the_forge_can_name(
    api: Api, forge: Forge
) -> None:
    await connect(api, forge)
    refs = ("refs/tags/v1.0.0", "refs/tags/v1.0", "refs/heads/main", "refs/heads/next")
    for ref in refs:
        await desk_of(api).handle(StatusDue(await queued(api, ref)))
    await desk_of(api).handle(StatusDue(1, split="demo/other"))
    contexts = [body["context"] for _, path, body in forge.asked if "/statuses/" in path]
    assert contexts == [
        f"lumper/demo/{end}" for end in ("hello:v1.0.0", "hello:v1.0", "hello", "hello", "other:v1.0.0")
    ]


async def test_of_many_tags_some_are_left_out_and_the_digest_is_not(api: Api, forge: Forge) -> None:
    await connect(api, forge)
    await queued(api)
    build = await api.history.builds.get(1)
    digest, tags = "sha256:" + "a" * 64, tuple(f"1.{number}.0-of-a-long-name" for number in range(9))
    told = status_of(replace(build, state=BuildState.SUCCEEDED, tags=tags, digest=digest), "p").description
    assert (told[:20], told[-73:], len(told)) == (tags[0], f"… {digest}", 140)
    assert status_of(replace(build, state=BuildState.SUCCEEDED, tags=("1",), digest=digest), "p").description == (
        f"1 {digest}"
    )


async def test_a_forge_that_is_away_is_told_again_and_one_that_refuses_is_not(api: Api, forge: Forge) -> None:
    await connect(api, forge)
    await queued(api)
    forge.status = 503
    with pytest.raises(ForgeUnavailable):
        await desk_of(api).handle(StatusDue(1))
    forge.status = 422
    await desk_of(api).handle(StatusDue(1))
    await desk_of(api).handle(StatusDue(99))


async def test_a_project_that_is_disconnected_tells_nothing(api: Api, forge: Forge) -> None:
    await connect(api, forge)
    assert (await api.ask("DELETE", "/projects/Demo/hello/forge")).body["forge_url"] == ""
    await queued(api)
    assert await due(api) == []
    await asyncio.wait_for(desk_of(api).handle(StatusDue(1)), 60)
    assert forge.states == []
