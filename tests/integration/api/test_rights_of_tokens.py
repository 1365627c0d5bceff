"""How far tokens reach: those of people, narrowed ones, those of a build, and what anyone may without one."""

from __future__ import annotations

from pathlib import Path

from lumper.model.builds.build import BuildState
from lumper.model.people.people import Role
from lumper.model.people.rights import Action, Grant
from parts.registries.live_registry import RegistryClient, live_registry
from parts.web.live_api import Api, basic
from parts.web.rights import (
    PASSWORD,
    admin,
    ask_as,
    grant,
    names,
    registry,
    robot,
    scoped,
    statuses,
    user,
)


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
    for method, path in (("GET", "/tokens"), ("DELETE", "/tokens/laptop")):  # headers: those of the one with limits
        assert (await api.ask(method, path, role=None, headers=headers)).status == 403

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
        for method, path in (("GET", "/tokens"), ("DELETE", f"/tokens/t-{role}")):
            refused = await api.ask(method, path, role=None, headers=headers)
            assert (refused.status, refused.error) == (403, "This token opens repositories, and nothing else.")
        me = await api.ask("GET", "/me", role=None, headers=headers)
        assert (me.body["role"], me.body["limits"][0]["repository"]) == ("user", "team/**")
        assert await registry(api, token).refusal("PUT", "/v2/team/app/manifests/_build-1-1") == (403, "DENIED")


async def test_a_token_with_limits_is_nobody_else_whatever_its_name(api: Api) -> None:
    await user(api)
    assert (await ask_as(api, "ann", "POST", "/tokens", {"name": "laptop"})).status == 201
    made = await api.ask("POST", "/tokens", {"name": "ann", "role": "worker", "repositories": ["team/*"]})
    headers = {"Authorization": f"Bearer {made.body['token']}"}
    for method, path in (("GET", "/tokens"), ("DELETE", "/tokens/laptop")):
        assert (await api.ask(method, path, role=None, headers=headers)).status == 403
    assert [each["name"] for each in (await ask_as(api, "ann", "GET", "/tokens")).body] == ["laptop"]


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
        assert await names(ann, "/v2/_catalog") == ["public/app", "team/app"]
        scopes = "scope=repository:public/app:pull&scope=repository:private:pull"
        async with ann.request("GET", f"/v2/token?{scopes}") as response:
            assert (await response.json())["scope"] == "repository:public/app:pull"


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
