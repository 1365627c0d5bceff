"""Users, robots and grants, over the API and the registry of a whole application."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta

import pytest

from lumper.model.builds.build import Output
from lumper.model.builds.log import to_line
from parts.registries.live_registry import OCI_MANIFEST, image_manifest
from parts.web.live_api import Api
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
