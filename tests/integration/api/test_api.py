"""The JSON API over a real server's application: who may do what, and projects, tokens and people from end to end."""

from __future__ import annotations

import json

import pytest

from lumper.model.people.people import Role
from parts.web.live_api import Api, basic

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
    await api.history.accounts.create_user("somebody", PASSWORD, Role.USER)
    api.tokens[Role.USER] = await api.history.accounts.create_token("somebodys", None, owner="somebody")
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


async def test_a_project_is_added_shown_listed_and_removed(api: Api) -> None:
    added = await api.project()
    assert (added["name"], added["repository"], added["image"]) == ("owner/app",) * 3
    assert added["url"] == "https://git.example.org/owner/app.git"
    assert added["hooks"] == {
        name: f"http://lumper.example.org/hooks/{name}/{added['name']}" for name in added["steps"]
    }
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
