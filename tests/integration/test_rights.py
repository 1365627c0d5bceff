"""Users, robots, grants and narrowed tokens, over the API and the registry of a whole application."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lumper.model.build import BuildState, Output
from lumper.model.log import to_line
from lumper.model.people import Role
from lumper.model.rights import Action, Grant
from parts.live_api import Answer, Api, basic
from parts.live_registry import OCI_MANIFEST, RegistryClient, digest_of, image_manifest, live_registry

PASSWORD = "correct horse battery"


def registry(api: Api, token: str = "", name: str = "", password: str = "") -> RegistryClient:
    """The registry for a token, or for a name and a password."""
    client = RegistryClient(api.session, api.url, token)
    if name:
        client._headers = basic(name, password)
    return client


def admin(api: Api) -> RegistryClient:
    return registry(api, api.tokens[Role.ADMIN])


async def ask_as(api: Api, name: str, method: str, path: str, body: object = None, password: str = PASSWORD) -> Answer:
    return await api.ask(method, path, body, role=None, headers=basic(name, password))


async def user(api: Api, name: str = "ann") -> None:
    """A user without grants."""
    made = await api.ask("POST", "/users", {"name": name, "password": PASSWORD})
    assert (made.status, made.body["role"]) == (201, "user")


async def grant(api: Api, account: str, repository: str, *allow: str) -> Answer:
    return await api.ask("POST", "/grants", {"account": account, "repository": repository, "allow": allow})


async def robot(api: Api, name: str = "ci", **more: Any) -> str:
    made = await api.ask("POST", "/robots", {"name": name, **more})
    assert made.status == 201, made.body
    return str(made.body["token"])


async def scoped(api: Api, name: str, password: str, *scopes: str) -> RegistryClient:
    """A client with a registry token for these scopes."""
    query = [("service", "lumper"), *(("scope", scope) for scope in scopes)]
    async with api.session.get(f"{api.url}/v2/token", params=query, headers=basic(name, password)) as response:
        assert response.status == 200, await response.text()
        return registry(api, (await response.json())["token"])


async def statuses(client: RegistryClient, repository: str, digest: str) -> list[int]:
    """Of a pull, the beginning of a push, and a delete of what is not there."""
    return [
        await client.status("GET", f"/v2/{repository}/manifests/{digest}"),
        await client.status("POST", f"/v2/{repository}/blobs/uploads/"),
        await client.status("DELETE", f"/v2/{repository}/manifests/{digest_of(b'nothing')}"),
    ]


async def names(client: RegistryClient, path: str) -> list[str]:
    async with client.request("GET", path) as response:
        assert response.status == 200, await response.text()
        body = await response.json()
    return list(body.get("repositories", body.get("tags")))


async def test_a_user_may_do_what_was_granted_and_nothing_else(api: Api) -> None:
    for name in ("other", "team/sub/app", "team/app"):
        digest = await admin(api).push_image(name, "1")
    await user(api)
    ann = registry(api, name="ann", password=PASSWORD)
    assert await statuses(ann, "team/app", digest) == [403, 403, 403]
    assert await names(ann, "/v2/_catalog") == []

    assert (await grant(api, "ann", "team/*", "pull")).status == 201
    assert await statuses(ann, "team/app", digest) == [200, 403, 403]
    assert await statuses(ann, "team/sub/app", digest) == [403, 403, 403]
    assert await names(ann, "/v2/_catalog") == ["team/app"]
    assert await names(ann, "/v2/team/app/tags/list") == ["1"]
    assert await ann.refusal("GET", "/v2/other/tags/list") == (403, "DENIED")

    added = await grant(api, "ann", "team/*", "push")
    assert added.body["actions"] == ["pull", "push"]
    await grant(api, "ann", "team/**", "pull", "delete")
    assert await statuses(ann, "team/app", digest) == [200, 202, 404]
    assert await statuses(ann, "team/sub/app", digest) == [200, 403, 404]
    assert await names(ann, "/v2/_catalog") == ["team/app", "team/sub/app"]
    assert await names(ann, "/v2/_catalog?n=1") == ["team/app"]
    assert await names(ann, "/v2/_catalog?n=5&last=team/app") == ["team/sub/app"]


async def test_what_is_taken_away_works_no_more_at_once(api: Api) -> None:
    digest = await admin(api).push_image("team/app", "1")
    await user(api)
    await grant(api, "ann", "team/app", "push")
    token = await robot(api)
    await grant(api, "ci", "team/app", "pull")
    ann, ci = registry(api, name="ann", password=PASSWORD), registry(api, name="ci", password=token)
    ann_token = await scoped(api, "ann", PASSWORD, "repository:team/app:pull,push")
    ci_token = await scoped(api, "ci", token, "repository:team/app:pull")
    manifest = f"/v2/team/app/manifests/{digest}"
    for client in (ann, ci, ann_token, ci_token):
        assert await client.status("GET", manifest) == 200

    assert (await api.ask("DELETE", "/grants?account=ann&repository=team/app")).status == 200
    assert [await client.status("GET", manifest) for client in (ann, ann_token)] == [403, 403]
    assert (await api.ask("DELETE", "/grants?account=ann&repository=team/app")).status == 404

    assert (await api.ask("PATCH", "/robots/ci", {"disabled": True})).status == 200
    assert [await client.status("GET", manifest) for client in (ci, ci_token)] == [401, 401]
    assert (await api.ask("PATCH", "/robots/ci", {"disabled": False})).status == 200
    assert [await client.status("GET", manifest) for client in (ci, ci_token)] == [200, 200]
    other = str((await api.ask("POST", "/robots/ci/token", {})).body["token"])
    assert [await client.status("GET", manifest) for client in (ci, ci_token)] == [401, 401]
    ci = registry(api, name="ci", password=other)
    assert await ci.status("GET", manifest) == 200
    assert (await api.ask("DELETE", "/robots/ci")).status == 200
    assert await ci.status("GET", manifest) == 401
    assert (await api.ask("GET", "/grants")).body == []

    assert await ann.status("GET", "/v2/") == 200
    assert (await api.ask("PATCH", "/users/ann", {"disabled": True})).body["disabled"] is True
    assert [await client.status("GET", "/v2/") for client in (ann, ann_token)] == [401, 401]
    await api.ask("PATCH", "/users/ann", {"disabled": False})
    assert await ann.status("GET", "/v2/") == 200
    assert (await api.ask("DELETE", "/users/ann")).status == 200
    assert [await client.status("GET", "/v2/") for client in (ann, ann_token)] == [401, 401]


async def test_a_registry_token_holds_no_more_than_the_grants(api: Api) -> None:
    digest = await admin(api).push_image("team/app", "1")
    await admin(api).push_image("other", "1")
    token = await robot(api)
    await grant(api, "ci", "team/*", "push")

    everything = "repository:team/app:*", "repository:other:pull,push,delete", "registry:catalog:*"
    client = await scoped(api, "ci", token, *everything)
    assert await statuses(client, "team/app", digest) == [200, 202, 403]
    assert await statuses(client, "other", digest) == [403, 403, 403]
    assert await names(client, "/v2/_catalog") == ["team/app"]

    pull = await scoped(api, "ci", token, "repository:team/app:pull")
    body, kind = b"{}", {"Content-Type": OCI_MANIFEST}
    refused = await pull.status("PUT", "/v2/team/app/manifests/x", data=io.BytesIO(body), headers=kind)
    assert refused == 401  # another token would do: the client is told which
    assert await pull.status("DELETE", f"/v2/team/app/manifests/{digest}") == 403
    assert await pull.status("GET", "/v2/_catalog") == 401


async def test_nothing_is_mounted_or_found_from_what_may_not_be_read(api: Api) -> None:
    secret = await admin(api).push_blob("private", b"secret")
    open_blob = await admin(api).push_blob("shared", b"open")
    token = await robot(api)
    await grant(api, "ci", "mine", "push")
    await grant(api, "ci", "shared", "pull")
    ci = registry(api, name="ci", password=token)

    for query in (f"?mount={secret}&from=private", f"?mount={secret}"):
        assert await ci.status("POST", f"/v2/mine/blobs/uploads/{query}") == 202
    assert await ci.status("HEAD", f"/v2/mine/blobs/{secret}") == 404
    assert await ci.status("POST", f"/v2/mine/blobs/uploads/?mount={open_blob}&from=shared") == 201
    assert await ci.status("POST", f"/v2/shared/blobs/uploads/?mount={secret}&from=mine") == 403

    subject = await admin(api).push_image("private", "1")
    assert await ci.refusal("GET", f"/v2/private/referrers/{subject}") == (403, "DENIED")
    async with ci.request("GET", f"/v2/mine/referrers/{subject}") as response:
        assert (await response.json())["manifests"] == []
    manifest = image_manifest((secret, 6))
    with pytest.raises(AssertionError, match="BLOB_UNKNOWN"):
        await ci.push_manifest("mine", "x", manifest)


async def test_a_robot_is_only_let_in_until_its_token_expires(api: Api) -> None:
    await robot(api, days=30)
    (shown,) = (await api.ask("GET", "/robots")).body
    left = datetime.fromisoformat(shown["expires_at"]) - datetime.now(UTC)
    assert timedelta(days=29) < left <= timedelta(days=30)
    assert shown["last_used_at"] is None

    await api.history.accounts.rotate_robot("ci")
    (shown,) = (await api.ask("GET", "/robots")).body
    left = datetime.fromisoformat(shown["expires_at"]) - datetime.now(UTC)
    assert timedelta(days=29) < left <= timedelta(days=30), "another token lives no longer than the one before"

    old = await api.history.accounts.rotate_robot("ci", datetime.now(UTC) - timedelta(seconds=1))
    assert await registry(api, name="ci", password=old).status("GET", "/v2/") == 401
    new = await api.history.accounts.rotate_robot("ci", datetime.now(UTC) + timedelta(days=1))
    assert await registry(api, name="ci", password=new).status("GET", "/v2/") == 200
    (shown,) = (await api.ask("GET", "/robots")).body
    assert shown["last_used_at"] is not None


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"account": "nobody", "repository": "a", "allow": ["pull"]}, 404),
        ({"account": "project:none", "repository": "a", "allow": ["pull"]}, 404),
        ({"account": "ann", "repository": "a/**/b", "allow": ["pull"]}, 400),
        ({"account": "ann", "repository": "A", "allow": ["pull"]}, 400),
        ({"account": "ann", "repository": "a", "allow": []}, 400),
        ({"account": "ann", "repository": "a", "allow": ["all"]}, 400),
        ({"account": "boss", "repository": "a", "allow": ["pull"]}, 400),
    ],
)
async def test_what_is_no_grant_is_refused_with_a_reason(api: Api, body: object, status: int) -> None:
    await user(api)
    await api.ask("POST", "/users", {"name": "boss", "password": PASSWORD, "role": "admin"})

    answer = await api.ask("POST", "/grants", body)

    assert answer.status == status, answer.body
    assert (await api.ask("GET", "/grants")).body == []


async def test_one_name_is_one_account(api: Api) -> None:
    await user(api, "ci")

    assert (await api.ask("POST", "/robots", {"name": "ci"})).status == 409
    await robot(api, "r2")
    assert (await api.ask("POST", "/users", {"name": "r2", "password": PASSWORD})).status == 409
    for method, path in (("DELETE", "/users/r2"), ("PATCH", "/users/r2"), ("DELETE", "/robots/ci")):
        assert (await api.ask(method, path, {"disabled": True})).status == 404
    assert (await api.ask("PUT", "/users/r2/password", {"password": PASSWORD})).status == 404
    assert [each["name"] for each in (await api.ask("GET", "/users")).body] == ["ci"]
    assert (await api.ask("DELETE", "/tokens/robot:r2")).status == 404
    assert "r2" not in str((await api.ask("GET", "/tokens")).body)


async def test_a_user_sees_images_and_builds_that_they_may_pull_and_nothing_more(api: Api) -> None:
    await admin(api).push_image("owner/app", "1")
    await admin(api).push_image("other", "1")
    project = await api.project()
    assert project["image"] == "owner/app"
    build = await api.build()
    await api.start(build)
    await api.history.logs.append(build, 1, 0, to_line(Output(1, 1, 0.0, "hello")).encode())
    await user(api)
    for path in (f"/builds/{build}", f"/builds/{build}/log", "/images/owner/app"):
        assert (await ask_as(api, "ann", "GET", path)).status == 404
    for path in ("/builds", "/images"):
        assert (await ask_as(api, "ann", "GET", path)).body == []

    await grant(api, "ann", "owner/*", "pull")

    assert [each["id"] for each in (await ask_as(api, "ann", "GET", "/builds")).body] == [build]
    assert [each["name"] for each in (await ask_as(api, "ann", "GET", "/images")).body] == ["owner/app"]
    assert "hello" in (await ask_as(api, "ann", "GET", f"/builds/{build}/log")).body
    assert (await ask_as(api, "ann", "GET", "/images/other")).status == 404
    for method, path in (
        ("POST", f"/builds/{build}/cancel"),
        ("GET", "/projects"),
        ("GET", "/containers"),
        ("GET", "/deliveries"),
        ("GET", "/users"),
        ("POST", "/grants"),
        ("POST", "/robots"),
        ("GET", "/queue"),
    ):
        assert (await ask_as(api, "ann", method, path)).status == 403, path


async def test_tokens_of_a_user_reach_as_far_as_they_do_or_less(api: Api) -> None:
    digest = await admin(api).push_image("team/app", "1")
    await admin(api).push_image("team/web", "1")
    await user(api)
    await user(api, "bob")
    await grant(api, "ann", "team/*", "push")

    whole = await ask_as(api, "ann", "POST", "/tokens", {"name": "laptop"})
    body = {"name": "reader", "repositories": ["team/app", "other"], "allow": ["pull"], "days": 9}
    less = await ask_as(api, "ann", "POST", "/tokens", body)
    assert (whole.status, less.status, less.body["owner"]) == (201, 201, "ann")

    laptop, reader = registry(api, whole.body["token"]), registry(api, less.body["token"])
    assert await statuses(laptop, "team/app", digest) == [200, 202, 403]
    assert await statuses(reader, "team/app", digest) == [200, 403, 403]
    assert await statuses(reader, "other", digest) == [403, 403, 403]
    assert await names(reader, "/v2/_catalog") == ["team/app"]
    for token in (whole.body["token"], less.body["token"]):
        headers = {"Authorization": f"Bearer {token}"}
        assert (await api.ask("POST", "/tokens", {"name": "more"}, role=None, headers=headers)).status == 403

    listed = (await ask_as(api, "ann", "GET", "/tokens?owner=")).body
    assert [(each["name"], each["owner"]) for each in listed] == [("laptop", "ann"), ("reader", "ann")]
    assert listed[1]["limits"][0] == {"repository": "team/app", "actions": ["pull"]}
    assert (await ask_as(api, "bob", "GET", "/tokens")).body == []
    assert (await ask_as(api, "bob", "DELETE", "/tokens/laptop")).status == 404
    assert (await ask_as(api, "ann", "POST", "/tokens", {"name": "x", "role": "admin"})).status == 403

    await api.ask("DELETE", "/grants?account=ann&repository=team/*")
    assert await statuses(laptop, "team/app", digest) == [403, 403, 403]
    assert (await ask_as(api, "ann", "DELETE", "/tokens/laptop")).status == 200
    assert await laptop.status("GET", "/v2/") == 401
    await api.ask("DELETE", "/users/ann")
    assert await reader.status("GET", "/v2/") == 401


async def test_a_narrowed_token_of_an_admin_is_no_admin(api: Api) -> None:
    digest = await admin(api).push_image("team/app", "1")
    for role in (Role.ADMIN, Role.OPERATOR):
        made = await api.ask("POST", "/tokens", {"name": f"t-{role}", "repositories": ["team/**"]}, role=role)
        token = made.body["token"]
        assert await statuses(registry(api, token), "team/app", digest) == [200, 202, 404]
        assert await statuses(registry(api, token), "other", digest) == [403, 403, 403]
        headers = {"Authorization": f"Bearer {token}"}
        for method, path in (("GET", "/users"), ("GET", "/projects"), ("POST", "/tokens"), ("DELETE", "/users/ann")):
            assert (await api.ask(method, path, {"name": "x"}, role=None, headers=headers)).status == 403, path
        me = await api.ask("GET", "/me", role=None, headers=headers)
        assert (me.body["role"], me.body["limits"][0]["repository"]) == ("user", "team/**")
        assert await registry(api, token).refusal("PUT", "/v2/team/app/manifests/_build-1-1") == (403, "DENIED")


async def test_a_user_changes_their_own_password_with_the_old_one(api: Api) -> None:
    await user(api)
    body = {"old": "not this one", "new": "another " + PASSWORD}
    assert (await ask_as(api, "ann", "PUT", "/me/password", body)).status == 401
    body["old"] = PASSWORD
    assert (await ask_as(api, "ann", "PUT", "/me/password", body)).status == 200
    assert (await ask_as(api, "ann", "GET", "/me")).status == 401
    assert (await ask_as(api, "ann", "GET", "/me", password=body["new"])).body["name"] == "ann"
    token = (await ask_as(api, "ann", "POST", "/tokens", {"name": "t"}, body["new"])).body["token"]
    headers = {"Authorization": f"Bearer {token}"}
    stolen = {"old": token, "new": "mine now, all of it"}
    assert (await api.ask("PUT", "/me/password", stolen, role=None, headers=headers)).status == 401


async def test_anyone_may_pull_only_where_the_patterns_say(api: Api, tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    patterns = ("public/**", "demo")
    async with live_registry(tmp_path / "open", anonymous="pull", anonymous_repositories=patterns) as live:
        own = RegistryClient(api.session, live.url, live.tokens[Role.ADMIN])
        for name in ("public/a/b", "demo", "private"):
            digest = await own.push_image(name, "1")
        anyone = RegistryClient(api.session, live.url)
        assert await statuses(anyone, "public/a/b", digest) == [200, 401, 401]
        assert await statuses(anyone, "demo", digest) == [200, 401, 401]
        assert await statuses(anyone, "private", digest) == [401, 401, 401]
        assert await anyone.status("GET", "/v2/_catalog") == 401


async def test_who_came_with_a_token_that_is_none_or_is_over_is_told(api: Api) -> None:
    token = await robot(api)
    assert (await api.ask("POST", "/robots/ci/token", {"days": 1})).status == 201

    assert await registry(api, name="ci", password=token).status("GET", "/v2/") == 401
    assert await registry(api, token).status("GET", "/v2/") == 401
    assert (await api.ask("GET", "/me", role=None, headers={"Authorization": "Bearer lmp_nothing"})).status == 401
    form = {"grant_type": "refresh_token", "refresh_token": token}
    assert await registry(api).status("POST", "/v2/token", data=form) == 401

    told = (await api.ask("GET", "/audit", params={"action": "refused"})).body
    assert [(one["actor"]["name"], one["actor"]["address"]) for one in told] == [
        ("", "127.0.0.1"),
        ("", "127.0.0.1"),
        ("", "127.0.0.1"),
        ("ci", "127.0.0.1"),
    ]
    assert {one["detail"] for one in told} == {"a token that is not known, or has expired"}


async def test_who_signs_in_may_still_do_what_anyone_may(api: Api, tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    async with live_registry(tmp_path / "open", anonymous="pull", anonymous_repositories=("public/**",)) as live:
        own = RegistryClient(api.session, live.url, live.tokens[Role.ADMIN])
        for name in ("public/app", "team/app", "private"):
            digest = await own.push_image(name, "1")
        await live.accounts.create_user("ann", PASSWORD, Role.USER)
        await live.accounts.grants.add("ann", "team/**", ["push"])
        limits = (Grant("elsewhere", frozenset({Action.PULL})),)
        token = await live.accounts.create_token("t", None, owner="ann", limits=limits)
        ann = RegistryClient(api.session, live.url)
        ann._headers = basic("ann", PASSWORD)
        narrow = RegistryClient(api.session, live.url, token)

        for client in (ann, narrow, RegistryClient(api.session, live.url, live.tokens[Role.WORKER])):
            assert await statuses(client, "public/app", digest) == [200, 403, 403]
            assert await statuses(client, "private", digest) == [403, 403, 403]
        assert await narrow.status("GET", "/v2/team/app/tags/list") == 403
        assert await names_of(ann) == ["public/app", "team/app"]
        scopes = "scope=repository:public/app:pull&scope=repository:private:pull"
        async with ann.request("GET", f"/v2/token?{scopes}") as response:
            assert (await response.json())["scope"] == "repository:public/app:pull"


async def names_of(client: RegistryClient) -> list[str]:
    async with client.request("GET", "/v2/_catalog") as response:
        return list((await response.json())["repositories"])


async def test_a_build_pushes_its_own_tag_in_its_own_repository_until_it_has_ended(api: Api) -> None:
    digest = await admin(api).push_image("owner/app", "1")
    await admin(api).push_image("base", "1")
    await api.project()
    build = await api.build()
    await api.start(build)
    assert (await grant(api, "project:owner/app", "base", "push")).status == 201
    for attempt in (0, 2):
        assert (await api.ask("GET", f"/builds/{build}/login?attempt={attempt}", role=Role.WORKER)).status == 409

    login = (await api.ask("GET", f"/builds/{build}/login?attempt=1", role=Role.WORKER)).body
    own = registry(api, name=login["username"], password=login["password"])
    scopes = "repository:owner/app:pull,push", "repository:base:pull,push"
    for client in (own, await scoped(api, "x", login["password"], *scopes)):
        assert await statuses(client, "owner/app", digest) == [200, 202, 403]
        assert await client.status("GET", f"/v2/base/manifests/{digest}") == 200
        assert await client.status("POST", "/v2/base/blobs/uploads/") == 403
        assert await client.status("GET", "/v2/_catalog") == 403
        for tag in ("latest", "_build-2-1", f"_build-{build}-2"):
            assert await client.refusal("PUT", f"/v2/owner/app/manifests/{tag}") == (403, "DENIED")
        await client.push_image("owner/app", f"_build-{build}-1")
        await client.push_image("owner/app", "buildcache-main")
    assert (await ask_as(api, "x", "GET", "/builds", password=login["password"])).status == 403

    async with api.history.database.write() as connection:
        await api.history.builds.end(connection, build, BuildState.CANCELLED)
    await robot(api)  # every change of accounts makes the memory forget
    assert await own.status("GET", "/v2/") == 401
    assert (await api.ask("GET", f"/builds/{build}/login?attempt=1", role=Role.WORKER)).status == 409
