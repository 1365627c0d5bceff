"""Deliveries of every forge at the door of a real server: kept raw, shown, and delivered again."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from lumper.forges.all import open_forges
from lumper.forges.port import Request
from parts.git import deliveries
from parts.web.live_api import Api


async def deliver(api: Api, forge: str, request: Request, project: str = "") -> tuple[int, dict[str, Any]]:
    """Deliver to the address for all projects, or to that of one."""
    url = f"{api.url}/hooks/{forge}" + (f"/{project}" if project else "")
    async with api.session.post(url, data=request.body, headers=dict(request.headers)) as answer:
        return answer.status, await answer.json()


@pytest.mark.parametrize("forge", [forge.name for forge in open_forges()])
async def test_a_signed_tag_of_every_forge_builds_once(api: Api, forge: str) -> None:
    project = await api.project(deliveries.facts(forge)["project"])
    own, unsigned = project["hooks"][forge].partition(f"/hooks/{forge}/")[2], deliveries.tag(forge)
    assert (await deliver(api, forge, unsigned))[0] == 401
    assert (await deliver(api, forge, unsigned, own))[0] == 401
    signed = deliveries.tag(forge, secret=project["secret"])
    status, told = await deliver(api, forge, signed, own)
    assert (status, told["verdict"], len(told["builds"])) == (202, "build", 1), told
    assert (await deliver(api, forge, signed, own))[1]["verdict"] == "duplicate"
    assert (await deliver(api, forge, signed))[1]["verdict"] == "duplicate"
    [build] = (await api.ask("GET", "/builds")).body
    assert (build["ref"], build["tag"]) == ("refs/tags/v1.2.3", "v1.2.3")


async def test_a_delivery_that_comes_again_is_kept_again_and_names_the_first(api: Api) -> None:
    project = await api.project("https://github.com/Demo/hello.git")
    signed = deliveries.fixture("github/push_annotated_tag", secret=project["secret"])
    for _ in range(3):
        await deliver(api, "github", signed)
    listed = (await api.ask("GET", "/deliveries")).body
    assert [one["verdict"] for one in listed] == ["duplicate", "duplicate", "build"]
    assert {one["reason"] for one in listed[:2]} == {f"This delivery came before, as delivery {listed[-1]['id']}."}
    assert (await api.ask("GET", f"/deliveries/{listed[0]['id']}")).body["body"] == signed.body.decode()
    assert len((await api.ask("GET", "/builds")).body) == 1


async def test_what_built_nothing_is_judged_anew_when_it_is_sent_again(api: Api) -> None:
    project = await api.project("https://github.com/Demo/hello.git")
    branch = deliveries.fixture("github/push_branch", secret=project["secret"])
    assert [(await deliver(api, "github", branch))[1]["verdict"] for _ in range(2)] == ["ignored", "ignored"]
    await api.ask("PUT", f"/projects/{project['name']}/rules", {"branches": ["**"]})
    assert [(await deliver(api, "github", branch))[1]["verdict"] for _ in range(2)] == ["build", "duplicate"]


async def test_who_sends_a_delivery_again_under_another_id_moves_nothing_back(api: Api) -> None:
    project = await api.project("https://github.com/Demo/hello.git")
    first, second = "a1" * 20, "b2" * 20

    async def moved(before: str, after: str, number: int, **more: object) -> dict[str, Any]:
        fields: dict[str, Any] = {"before": before, "after": after, "head_commit": {"id": after}, **more}
        request = deliveries.fixture("github/push_lightweight_tag", secret=project["secret"], **fields)
        headers = {**request.headers, "x-github-delivery": f"7f1c0000-{number}"}
        return (await deliver(api, "github", Request(headers, request.body)))[1]

    told = [await moved(*step, number) for number, step in enumerate([("0" * 40, first), (first, second)])]
    assert [answer["builds"] for answer in told] == [[1], [2]]
    assert (await moved(second, first, 3))["builds"] == [1]
    assert (await moved(first, second, 4))["verdict"] == "duplicate"
    assert (await moved(second, first, 5))["verdict"] == "duplicate"
    assert (await moved(first, second, 6, compare="another day"))["builds"] == [2]
    states = {build["id"]: build["state"] for build in (await api.ask("GET", "/builds")).body}
    assert states == {1: "cancelled", 2: "queued"}


async def test_a_delivery_is_shown_as_it_came_but_for_the_secret_in_it(api: Api) -> None:
    project = await api.project("https://gitlab.example.org/demo/tools/hello.git")
    request = deliveries.fixture("gitlab/push_tag", secret=project["secret"])
    await deliver(api, "gitlab", request)
    [listed] = (await api.ask("GET", "/deliveries?project=demo/tools/hello")).body
    shown = (await api.ask("GET", f"/deliveries/{listed['id']}")).body
    assert shown["body"] == request.body.decode()
    assert shown["headers"]["x-gitlab-event"] == "Tag Push Hook"
    assert project["secret"] not in str(shown)


async def test_a_replay_starts_what_is_missing_and_nothing_twice(api: Api) -> None:
    project = await api.project("https://github.com/Demo/hello.git")
    request = deliveries.fixture("github/push_annotated_tag", secret=project["secret"])
    await deliveries.keep(api.history, project["id"], request, "The rules of that day had no use for it.")
    [kept] = (await api.ask("GET", "/deliveries")).body
    told = (await api.ask("POST", f"/deliveries/{kept['id']}/replay")).body
    assert (told["verdict"], len(told["builds"])) == ("build", 1)
    again = (await api.ask("POST", f"/deliveries/{kept['id']}/replay")).body
    assert (again["verdict"], again["builds"]) == ("duplicate", [])
    assert f"lumper restart {told['builds'][0]}" in again["reason"]
    [kept] = (await api.ask("GET", "/deliveries")).body
    assert (kept["verdict"], kept["replayed_at"] is not None) == ("duplicate", True)
    assert len((await api.ask("GET", "/builds")).body) == 1


async def test_a_delivery_whose_body_is_not_kept_any_more_cannot_be_replayed(api: Api) -> None:
    project = await api.project("https://github.com/Demo/hello.git")
    request = deliveries.fixture("github/push_annotated_tag", secret=project["secret"])
    await deliveries.keep(api.history, project["id"], request)
    assert await api.history.deliveries.empty(datetime.now(UTC)) == 1
    [kept] = (await api.ask("GET", "/deliveries")).body
    answer = await api.ask("POST", f"/deliveries/{kept['id']}/replay")
    assert (answer.status, "not kept any more" in answer.body["error"]) == (400, True)
    assert "delivery_days" in answer.body["hint"]


async def test_a_delivery_that_is_not_there_is_told(api: Api) -> None:
    for method, path in (("GET", "/deliveries/7"), ("POST", "/deliveries/7/replay")):
        answer = await api.ask(method, path)
        assert (answer.status, "lumper hooks list" in answer.body["hint"]) == (404, True)


async def test_deliveries_are_listed_page_by_page(api: Api) -> None:
    project = await api.project("https://github.com/Demo/hello.git")
    for number in range(5):
        body = deliveries.fixture("github/ping", zen=str(number)).body
        signed = deliveries.made("github", "ping", body, secret=project["secret"], delivery=f"ping-{number}")
        assert (await deliver(api, "github", signed))[1]["verdict"] == "ignored"
    first = (await api.ask("GET", "/deliveries?limit=3")).body
    second = (await api.ask("GET", f"/deliveries?limit=3&before={first[-1]['id']}")).body
    assert [one["delivery_id"] for one in first + second] == [f"ping-{number}" for number in (4, 3, 2, 1, 0)]


async def test_a_signing_token_of_gitlab_is_taken_for_the_secret(api: Api) -> None:
    await api.project("https://gitlab.example.org/demo/tools/hello.git")
    path = "/projects/demo/tools/hello/secret"
    token = "whsec_dGhpcnR5LXR3byBieXRlcyBvZiBzaWduaW5nIGtleSE="
    assert (await api.ask("PUT", path, {"secret": token})).body["secret"] == token
    made = (await api.ask("PUT", path, {})).body["secret"]
    assert len(made) > 40
    for bad in ("short", "with spaces in it, sixteen", "línea-con-acentos-largos", "x" * 20 + "\n"):
        answer = await api.ask("PUT", path, {"secret": bad})
        assert (answer.status, "16" in answer.body["hint"]) == (400, True)


@pytest.mark.parametrize("forge", [forge.name for forge in open_forges()])
async def test_a_project_tells_the_steps_at_its_own_forge(api: Api, forge: str) -> None:
    project = await api.project(deliveries.facts(forge)["project"].replace("git.example", f"{forge}.example"))
    assert project["forge"] == forge
    assert any(f"http://lumper.example.org/hooks/{forge}/{project['name']}" in step for step in project["steps"][forge])
