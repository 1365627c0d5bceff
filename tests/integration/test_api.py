"""The JSON API over a real server's application: who may do what, and what comes of bad requests."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from lumper.model.build import BuildState, Output
from lumper.model.deployment import Container, ContainerState
from lumper.model.events import HostObserved
from lumper.model.image import NewManifest
from lumper.model.log import to_line
from lumper.model.people import Role
from lumper.model.source import Verdict
from parts.live_api import Api

PASSWORD = "correct horse battery"
OPERATORS = {Role.ADMIN, Role.OPERATOR}
VIEWERS = {*OPERATORS, Role.USER, Role.ROBOT}
EVERYBODY = set(Role)

ROUTES: list[tuple[str, str, set[Role]]] = [
    ("GET", "/status", EVERYBODY),
    ("GET", "/openapi.json", EVERYBODY),
    ("GET", "/projects", OPERATORS),
    ("POST", "/projects", OPERATORS),
    ("GET", "/projects/{name}", OPERATORS),
    ("GET", "/projects/{name}/credentials", {*OPERATORS, Role.WORKER}),
    ("GET", "/builds", VIEWERS),
    ("GET", "/builds/{id}", VIEWERS),
    ("GET", "/builds/{id}/log", {*VIEWERS, Role.MAILER}),
    ("GET", "/builds/{id}/log/search", VIEWERS),
    ("GET", "/builds/{id}/login", {Role.WORKER}),
    ("POST", "/builds/{id}/cancel", OPERATORS),
    ("POST", "/builds/{id}/restart", OPERATORS),
    ("POST", "/builds/{id}/verify", OPERATORS),
    ("GET", "/builds/{id}/verification", VIEWERS),
    ("GET", "/builds/{id}/secrets", {Role.BUILD}),
    ("GET", "/secrets", OPERATORS),
    ("PUT", "/secrets", OPERATORS),
    ("DELETE", "/secrets", OPERATORS),
    ("GET", "/images", VIEWERS),
    ("GET", "/images/{name}", VIEWERS),
    ("PUT", "/images/{name}", VIEWERS),
    ("DELETE", "/images/{name}", VIEWERS),
    ("GET", "/history/{reference}", VIEWERS),
    ("GET", "/inspect/{reference}", VIEWERS),
    ("GET", "/packages/{reference}", VIEWERS),
    ("GET", "/provenance/{reference}", VIEWERS),
    ("GET", "/registry/key", EVERYBODY),
    ("POST", "/registry/rebuild", OPERATORS),
    ("POST", "/registry/verify", OPERATORS),
    ("GET", "/registry/retention", OPERATORS),
    ("POST", "/registry/retention", OPERATORS),
    ("GET", "/registry/rules", OPERATORS),
    ("PUT", "/registry/rules/{glob}", OPERATORS),
    ("DELETE", "/registry/rules/{glob}", OPERATORS),
    ("GET", "/containers", OPERATORS),
    ("GET", "/rollouts", OPERATORS),
    ("PUT", "/projects/{name}/secret", OPERATORS),
    ("PUT", "/projects/{name}/url", OPERATORS),
    ("PUT", "/projects/{name}/rules", OPERATORS),
    ("GET", "/projects/{name}/forge", OPERATORS),
    ("PUT", "/projects/{name}/forge", OPERATORS),
    ("DELETE", "/projects/{name}/forge", OPERATORS),
    ("POST", "/projects/{name}/builds", OPERATORS),
    ("GET", "/deliveries", OPERATORS),
    ("GET", "/deliveries/{id}", OPERATORS),
    ("POST", "/deliveries/{id}/replay", OPERATORS),
    ("GET", "/me", EVERYBODY),
    ("PUT", "/me/password", {*OPERATORS, Role.USER}),
    ("GET", "/tokens", {*OPERATORS, Role.USER}),
    ("POST", "/tokens", {*OPERATORS, Role.USER}),
    ("DELETE", "/tokens/{token}", {*OPERATORS, Role.USER}),
    ("GET", "/users", OPERATORS),
    ("POST", "/users", OPERATORS),
    ("PUT", "/users/{user}/password", OPERATORS),
    ("PATCH", "/users/{user}", OPERATORS),
    ("DELETE", "/users/{user}", OPERATORS),
    ("GET", "/robots", OPERATORS),
    ("POST", "/robots", OPERATORS),
    ("PATCH", "/robots/{robot}", OPERATORS),
    ("DELETE", "/robots/{robot}", OPERATORS),
    ("POST", "/robots/{robot}/token", OPERATORS),
    ("GET", "/audit", OPERATORS),
    ("GET", "/grants", OPERATORS),
    ("POST", "/grants", OPERATORS),
    ("DELETE", "/grants", OPERATORS),
    ("GET", "/queue", OPERATORS),
    ("GET", "/queue/builds", OPERATORS),
    ("GET", "/workers", OPERATORS),
    ("POST", "/queue/{topic}/revive", OPERATORS),
    ("POST", "/registry/gc", OPERATORS),
    ("GET", "/registry/webhooks", OPERATORS),
    ("POST", "/registry/webhooks", OPERATORS),
    ("GET", "/registry/webhooks/{webhook}/calls", OPERATORS),
    ("POST", "/registry/webhooks/{webhook}/ping", OPERATORS),
    ("POST", "/registry/webhooks/{webhook}/revive", OPERATORS),
    ("DELETE", "/registry/webhooks/{webhook}", OPERATORS),
    ("DELETE", "/projects/{name}", OPERATORS),
    ("*", "/{anything}", EVERYBODY),
]
ASKED = [
    (
        method.replace("*", "GET"),
        path.format(
            name="owner/app",
            id=1,
            topic="notify",
            token="nobody",
            user="ann",
            robot="ci",
            webhook=1,
            reference="owner/app:1",
            glob="owner/**",
            anything="nothing/there",
        ),
        roles,
    )
    for method, path, roles in ROUTES
]


@pytest.mark.parametrize("role", Role)
async def test_every_route_is_for_its_roles_and_no_other(api: Api, role: Role) -> None:
    await api.project()
    await api.build()
    for method, path, allowed in ASKED:
        answer = await api.ask(method, path, role=role)
        if role in allowed:
            assert answer.status not in (401, 403), (method, path)
        else:
            assert (answer.status, answer.error[:16]) == (403, "This is not for "), (method, path)
            assert "token with the role" in answer.body["hint"]


async def test_without_credentials_no_route_says_anything(api: Api) -> None:
    for method, path, _ in ASKED:
        answer = await api.ask(method, path, role=None)
        assert (answer.status, answer.error) == (401, "Who are you?")
        assert "bearer token" in answer.body["hint"]


async def test_the_table_of_this_test_has_every_route(api: Api) -> None:
    served = {
        (route.method, route.resource.canonical.removeprefix("/api/v1"))
        for route in api.app.router.routes()
        if route.resource is not None and route.resource.canonical.startswith("/api/v1/") and route.method != "HEAD"
    }
    assert served == {(method, path) for method, path, _ in ROUTES}


@pytest.mark.parametrize(
    "header",
    ["Bearer lmp_wrong", "Bearer ", "Basic !!!", "Basic YWRtaW46d3Jvbmc=", "Digest x", "lmp_wrong"],
)
async def test_wrong_credentials_are_an_error_in_json(api: Api, header: str) -> None:
    answer = await api.ask("GET", "/builds", role=None, headers={"Authorization": header})
    assert (answer.status, bool(answer.error)) == (401, True)


def basic(name: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + b64encode(f"{name}:{password}".encode()).decode()}


async def test_too_many_wrong_passwords_have_to_wait(api: Api) -> None:
    await api.history.accounts.create_user("ann", PASSWORD)
    for _ in range(30):
        answer = await api.ask("GET", "/builds", role=None, headers=basic("ann", "wrong password"))
        if answer.status == 429:
            break
    assert answer.status == 429
    assert int(answer.headers["Retry-After"]) > 0


async def test_a_person_may_use_name_and_password(api: Api) -> None:
    await api.history.accounts.create_user("ann", PASSWORD, Role.ADMIN)
    answer = await api.ask("GET", "/builds", role=None, headers=basic("ann", PASSWORD))
    assert (answer.status, answer.body) == (200, [])


async def test_a_change_from_a_page_of_another_site_is_refused(api: Api) -> None:
    for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        answer = await api.ask("POST", "/tokens", {"name": "x", "role": "operator"}, headers=headers)
        assert answer.status == 403


async def test_what_is_not_there_is_told_with_a_hint(api: Api) -> None:
    for method, path in (
        ("GET", "/builds/99"),
        ("GET", "/builds/99/log"),
        ("GET", "/builds/99/log/search?q=x"),
        ("POST", "/builds/99/cancel"),
        ("POST", "/builds/99/restart"),
        ("POST", "/builds/99/verify"),
        ("GET", "/builds/99/verification"),
        ("GET", "/builds/999999999999999999"),
        ("GET", "/builds/9999999999999999999999"),
        ("GET", "/builds/abc"),
        ("GET", "/projects/no/such"),
        ("DELETE", "/projects/no/such"),
        ("GET", "/projects/no/such/credentials"),
        ("GET", "/images/no/such"),
        ("DELETE", "/tokens/nothing"),
        ("POST", "/queue/nothing/revive"),
        ("GET", "/nothing"),
        ("GET", "/"),
    ):
        answer = await api.ask(method, path)
        assert (answer.status, bool(answer.error)) == (404, True), (method, path)
        assert answer.body["hint"] or "/tokens" in path, (method, path)


@pytest.mark.parametrize("value", ["-1", "x", "1e3", "٣", "1" * 19, "0", "1001", " 1", "1;drop"])
async def test_bad_limits_are_refused(api: Api, value: str) -> None:
    for path in ("/builds", "/rollouts", "/deliveries"):
        answer = await api.ask("GET", path, params={"limit": value})
        assert (answer.status, "limit" in answer.error) == (400, True)


async def test_bad_numbers_of_a_log_are_refused_before_it_begins(api: Api) -> None:
    await api.project()
    build_id = await api.build()
    for query, status in (
        ({"offset": "x"}, 400),
        ({"attempt": "-1"}, 400),
        ({"attempt": "0"}, 404),
        ({"attempt": "2"}, 404),
    ):
        answer = await api.ask("GET", f"/builds/{build_id}/log", params=query)
        assert (answer.status, bool(answer.error)) == (status, True), query
    assert (await api.ask("GET", f"/builds/{build_id}/log", params={"offset": "9" * 18})).body == ""


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b'"x"',
        b"{}",
        b"{",
        b'{"url": 7}',
        b'{"url": null}',
        b'{"url": "https://h/a/b", "colour": "red"}',
        b'{"url": "https://h/a/b", "allow_local": "perhaps"}',
        b"\xff\xfe",
        b'{"url": "\\ud800"}',
        b"[" * 20_000,
        b'{"url": NaN}',
    ],
)
async def test_bad_bodies_are_refused(api: Api, data: bytes) -> None:
    answer = await api.ask("POST", "/projects", data=data)
    assert (answer.status, bool(answer.error)) == (400, True)
    assert (await api.ask("GET", "/projects")).body == []


async def test_a_body_may_come_in_pieces_and_not_be_too_large(api: Api) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for piece in (b'{"url": "https://git.exam', b'ple.org/owner/app"', b"}"):
            yield piece

    assert (await api.ask("POST", "/projects", data=pieces())).status == 201
    large = await api.ask("POST", "/projects", {"url": "x" * 70_000})
    assert (large.status, large.error) == (413, "The body is too large.")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "file:///etc",
        "ext::sh -c id",
        "git://h/a/b",
        "--upload-pack=x",
        "https://h/",
        "https://h/a/b?x=1",
        "ssh://-oProxyCommand=x/a/b",
        "http://user:hunter2@h/..",
        "https://h/a b\nc",
    ],
)
async def test_urls_that_are_not_fetched_are_refused_without_their_password(api: Api, url: str) -> None:
    answer = await api.ask("POST", "/projects", {"url": url})
    assert (answer.status, bool(answer.error)) == (400, True)
    assert "hunter2" not in json.dumps(answer.body)


@pytest.mark.parametrize(
    "names",
    [
        {"name": "a\nb"},
        {"name": "a\0b"},
        {"name": "/a"},
        {"name": "a/"},
        {"name": "x" * 201},
        {"repository": "a\x1b[2J"},
        {"image": "../../etc"},
        {"image": "Owner/App"},
        {"image": "a" * 201},
        {"image": "registry.example.org:5000/app"},
    ],
)
async def test_bad_names_are_refused(api: Api, names: dict[str, str]) -> None:
    answer = await api.ask("POST", "/projects", {"url": "https://git.example.org/owner/app", **names})
    assert (answer.status, bool(answer.error), bool(answer.body["hint"])) == (400, True, True)


async def test_a_project_is_added_shown_listed_and_removed(api: Api) -> None:
    added = await api.project()
    assert (added["name"], added["repository"], added["image"]) == ("owner/app",) * 3
    assert added["url"] == "https://git.example.org/owner/app.git"
    assert added["hooks"] == {name: f"http://lumper.example.org/hooks/{name}" for name in added["steps"]}
    assert {"github", "gitlab", "gitea", "bitbucket-server"} < set(added["hooks"])
    shown = (await api.ask("GET", "/projects/owner/app")).body
    assert shown == added
    assert (await api.ask("GET", f"/projects/{added['id']}")).body == added
    again = await api.ask("POST", "/projects", {"url": "https://other.example.org/owner/app"})
    assert (again.status, "--name" in again.body["hint"]) == (409, True)
    assert (await api.ask("DELETE", "/projects/owner/app")).status == 200
    assert (await api.ask("GET", "/projects")).body == []


async def test_a_project_moves_and_gets_other_credentials(api: Api) -> None:
    project = await api.project()

    async def moved(**new: str) -> tuple[str, str, str, str]:
        answer = await api.ask("PUT", "/projects/owner/app/url", new)
        assert (answer.status, "password" in json.dumps(answer.body)) == (200, False), answer
        found = (await api.ask("GET", "/projects/owner/app/credentials")).body
        return answer.body["url"], answer.body["repository"], found["username"], found["password"]

    url = project["url"]
    assert await moved(username="robot", password="s3cret-token") == (url, "owner/app", "robot", "s3cret-token")
    there = "https://git.example.org/new/app"
    assert await moved(url=there) == (there, "new/app", "robot", "s3cret-token")
    other = "https://other.example.org/new/app"
    assert await moved(url=other) == (other, "new/app", "", "")
    assert await moved(url="https://a:b@git.example.org/new/app") == (there, "new/app", "a", "b")
    for wrong in ("ext::sh -c id", "/etc", "file:///x"):
        refused = await api.ask("PUT", "/projects/owner/app/url", {"url": wrong})
        assert (refused.status, bool(refused.error)) == (400, True)
    assert (await api.ask("PUT", "/projects/no/url", {})).status == 404
    build = await api.build()
    assert await moved(url=url) == (url, "owner/app", "a", "b")
    assert await moved(username="x", password="y") == (url, "owner/app", "x", "y")
    refused = await api.ask("PUT", "/projects/owner/app/url", {"url": "https://git.example.org:8443/owner/app.git"})
    assert (refused.status, f"lumper cancel {build}" in refused.body["hint"]) == (409, True)


async def test_secrets_are_only_where_they_are_asked_for(api: Api) -> None:
    project = await api.project()
    await api.build()
    token = (await api.ask("POST", "/tokens", {"name": "ci", "role": "operator"})).body["token"]
    hidden = [project["secret"], "hunter2", '"bot"', token, *api.tokens.values()]
    for method, path, _ in ASKED:
        if method == "GET" and path not in ("/projects/owner/app", "/projects/owner/app/credentials"):
            text = json.dumps((await api.ask(method, path)).body)
            assert not [secret for secret in hidden if secret in text], path
    shown = json.dumps((await api.ask("GET", "/projects/owner/app")).body)
    assert "hunter2" not in shown
    removed = json.dumps((await api.ask("DELETE", "/projects/owner/app")).body)
    assert project["secret"] not in removed


async def test_a_worker_is_told_the_credentials_for_git(api: Api) -> None:
    project = await api.project()
    answer = await api.ask("GET", f"/projects/{project['id']}/credentials", role=Role.WORKER)
    assert answer.body == {"username": "bot", "password": "hunter2"}


async def test_a_local_path_is_refused_unless_its_folder_is_allowed(api: Api) -> None:
    (api.folder / "secret.git").mkdir()
    (api.folder / "allowed" / "link.git").symlink_to(api.folder / "secret.git")
    for path in ("/etc", str(api.folder / "secret.git"), str(api.folder / "allowed" / "link.git")):
        answer = await api.ask("POST", "/projects", {"url": path})
        assert (answer.status, "allow-local" in answer.body["hint"]) == (400, True), path
    assert (await api.ask("POST", "/projects", {"url": str(api.folder / "allowed" / "app.git")})).status == 201


async def test_only_the_operator_may_allow_a_local_path(api: Api) -> None:
    body = {"url": str(api.folder / "elsewhere" / "app.git"), "allow_local": True}
    assert (await api.ask("POST", "/projects", body, role=Role.ADMIN)).status == 400
    assert (await api.ask("POST", "/projects", body, role=Role.WORKER)).status == 403
    assert (await api.ask("POST", "/projects", body, role=Role.OPERATOR)).status == 201


async def test_tokens_are_made_used_listed_and_revoked(api: Api) -> None:
    made = await api.ask("POST", "/tokens", {"name": "builder-2", "role": "worker"})
    assert (made.status, made.body["role"]) == (201, "worker")
    bearer = {"Authorization": f"Bearer {made.body['token']}"}
    assert (await api.ask("GET", "/status", role=None, headers=bearer)).status == 200
    assert (await api.ask("POST", "/tokens", {"name": "builder-2", "role": "worker"})).status == 409
    listed = {token["name"]: token["role"] for token in (await api.ask("GET", "/tokens")).body}
    assert listed["builder-2"] == "worker"
    assert (await api.ask("DELETE", "/tokens/builder-2")).status == 200
    assert (await api.ask("GET", "/status", role=None, headers=bearer)).status == 401


@pytest.mark.parametrize(
    "body", [{"name": "x", "role": "king"}, {"name": "", "role": "worker"}, {"name": "a b", "role": "worker"}]
)
async def test_bad_tokens_are_refused(api: Api, body: dict[str, str]) -> None:
    assert (await api.ask("POST", "/tokens", body)).status == 400


async def test_only_the_owner_of_the_data_folder_makes_another_operator(api: Api) -> None:
    body = {"name": "second", "role": "operator"}
    refused = await api.ask("POST", "/tokens", body, role=Role.ADMIN)
    assert (refused.status, bool(refused.body["hint"])) == (403, True)
    assert (await api.ask("POST", "/tokens", body, role=Role.OPERATOR)).status == 201


async def test_people_are_let_in_get_another_password_and_are_let_in_no_more(api: Api) -> None:
    body = {"name": "ann", "password": PASSWORD}
    made = await api.ask("POST", "/users", body)
    assert (made.status, PASSWORD in str(made.body)) == (201, False)
    assert (await api.ask("POST", "/users", body)).status == 409
    assert (await api.ask("POST", "/users", {"name": "bob", "password": "short"})).status == 400
    assert [user["name"] for user in (await api.ask("GET", "/users")).body] == ["ann"]
    assert (await api.ask("PUT", "/users/ann/password", {"password": "another " + PASSWORD})).status == 200
    assert (await api.ask("PUT", "/users/bob/password", {"password": PASSWORD})).status == 404
    assert (await api.ask("DELETE", "/users/ann")).status == 200
    assert (await api.ask("DELETE", "/users/ann")).status == 404


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
    async with api.history.database.write() as connection:
        await api.history.deliveries.add(
            connection,
            project_id=project["id"],
            forge="github",
            delivery_id="d1",
            event="push",
            headers={"x-hub-signature-256": "sha256=abc"},
            body=b'{"secret": "hunter2"}',
            verdict=Verdict.IGNORED,
            reason="Only tags are built.",
        )
    [delivery] = (await api.ask("GET", "/deliveries")).body
    assert (delivery["project"], delivery["verdict"], delivery["reason"]) == (
        "owner/app",
        "ignored",
        "Only tags are built.",
    )
    assert "hunter2" not in json.dumps(delivery)
