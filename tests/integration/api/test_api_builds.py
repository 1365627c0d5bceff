"""What the API tells of builds, their logs, and what they left: images, containers, deliveries."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from lumper.forges.port import Request
from lumper.model.builds.build import BuildState, Output
from lumper.model.builds.log import to_line
from lumper.model.deployment import Container, ContainerState
from lumper.model.events import HostObserved
from lumper.model.images.image import NewManifest
from lumper.model.people.people import Role
from parts.git import deliveries
from parts.web.live_api import Api


async def test_builds_are_listed_cancelled_and_restarted(api: Api) -> None:
    await api.project()
    first, second, third = [await api.build(f"v1.0.{n}") for n in range(3)]
    listed = (await api.ask("GET", "/builds", params={"limit": "2"})).body
    assert [build["id"] for build in listed] == [third, second]
    assert [b["id"] for b in (await api.ask("GET", "/builds", params={"before": str(second)})).body] == [first]
    assert (await api.ask("GET", "/builds", params={"project": "no/such"})).body == []
    shown = (await api.ask("GET", f"/builds/{first}")).body
    assert (shown["tag"], shown["state"], shown["attempt"], shown["rollout"]) == ("v1.0.0", "queued", 1, None)

    assert (await api.ask("POST", f"/builds/{first}/restart")).status == 409
    assert (await api.ask("POST", f"/builds/{first}/cancel")).body["state"] == "cancelled"
    assert (await api.ask("POST", f"/builds/{first}/cancel")).status == 409
    assert (await api.ask("POST", f"/builds/{first}/restart")).body["attempt"] == 2


async def test_a_log_is_read_from_an_offset_and_followed_to_its_end(api: Api) -> None:
    await api.project()
    build_id = await api.build()
    await api.start(build_id)
    lines = [to_line(Output(1, 1, 1732440000.0, f"line {number}")) for number in range(3)]
    await api.history.logs.append(build_id, 1, 0, lines[0].encode())
    path = f"{api.url}/api/v1/builds/{build_id}/log?follow=1"
    headers = {"Authorization": f"Bearer {api.tokens[Role.OPERATOR]}"}
    async with api.session.get(path, headers=headers) as response:
        assert (await response.content.readline()).decode() == lines[0]
        await api.history.logs.append(build_id, 1, len(lines[0]), lines[1].encode())
        assert (await response.content.readline()).decode() == lines[1]
        async with api.history.database.write() as connection:
            await api.history.logs.append(build_id, 1, len(lines[0] + lines[1]), lines[2].encode())
            await api.history.builds.end(connection, build_id, BuildState.FAILED)
        api.history.logs.wake()
        assert (await response.content.read()).decode() == lines[2]
    rest = await api.ask("GET", f"/builds/{build_id}/log", params={"offset": str(len(lines[0]))}, role=Role.MAILER)
    assert (rest.body, rest.headers["Content-Type"]) == (lines[1] + lines[2], "application/jsonl")


async def test_a_text_is_found_in_a_log(api: Api) -> None:
    await api.project()
    build_id = await api.build()
    await api.start(build_id)
    lines = [to_line(Output(1 + n % 2, 1, 1732440000.0, f"Line \x1b[1m{n}\x1b[0m")) for n in range(3000)]
    await api.history.logs.append(build_id, 1, 0, "".join(lines).encode())
    path = f"/builds/{build_id}/log/search"
    found = await api.ask("GET", path, params={"q": "LINE 299", "limit": "2"})
    assert found.body["lines"] == [
        {"step": 2, "line": 150, "stream": 1, "at": 1732440000.0, "text": "Line \x1b[1m299\x1b[0m"},
        {"step": 1, "line": 1496, "stream": 1, "at": 1732440000.0, "text": "Line \x1b[1m2990\x1b[0m"},
    ]
    assert (found.body["count"], found.body["whole"]) == (11, True)
    assert (await api.ask("GET", path, params={"q": "LINE", "exact": "1"})).body["count"] == 0
    for query in (
        {},
        {"q": ""},
        {"q": "x" * 501},
        {"q": "a\nb"},
        {"q": "x", "limit": "0"},
        {"q": "x", "limit": "10001"},
    ):
        assert (await api.ask("GET", path, params=query)).status == 400, query
    assert (await api.ask("GET", path, params={"q": "x", "attempt": "2"})).status == 404


async def test_of_long_lines_only_the_beginning_is_told_to_who_searches(api: Api) -> None:
    await api.project()
    build_id = await api.build()
    await api.start(build_id)
    await api.history.logs.append(build_id, 1, 0, to_line(Output(1, 1, 1.0, "y" * 900_000 + "needle")).encode())
    found = await api.ask("GET", f"/builds/{build_id}/log/search", params={"q": "needle"})
    assert found.body["count"] == 1
    assert len(found.body["lines"][0]["text"]) < 3000


async def test_what_runs_and_what_is_kept_is_listed(api: Api) -> None:
    digest = "sha256:" + "a" * 64
    await api.history.images.put_manifest("owner/app", NewManifest(digest, "m", 400, ()), ["1.0.0", "_build-1-1"])
    container = Container("c1", "app", digest, "h", 1, ContainerState.RUNNING, version="v1.0.0")
    await api.history.rollouts.observed(HostObserved("local", datetime.now(UTC), (container,)))
    await api.history.images.link_blob("owner/empty", digest, 5)
    await api.history.images.unlink_blob("owner/empty", digest)
    [image] = (await api.ask("GET", "/images")).body
    assert (image["name"], image["tags"]) == ("owner/app", 1)
    shown = (await api.ask("GET", "/images/owner/app")).body
    assert (shown["pull"], [tag["name"] for tag in shown["tags"]]) == ("lumper.example.org/owner/app", ["1.0.0"])
    [runs] = (await api.ask("GET", "/containers")).body
    assert (runs["service"], runs["digest"]) == ("app", digest)


async def test_deliveries_are_listed_without_their_bodies(api: Api) -> None:
    project = await api.project()
    request = Request({"x-hub-signature-256": "sha256=abc"}, b'{"secret": "hunter2"}')
    await deliveries.keep(api.history, project["id"], request, "Only tags are built.")
    [delivery] = (await api.ask("GET", "/deliveries")).body
    assert (delivery["project"], delivery["verdict"], delivery["reason"]) == (
        "owner/app",
        "ignored",
        "Only tags are built.",
    )
    assert "hunter2" not in json.dumps(delivery)
