"""Tags over HTTP: who moved them, back to where they were, and rules that keep them where they are."""

from __future__ import annotations

import io
import json
from typing import Any

import aiohttp
import pytest

from lumper.model.people.people import Role
from parts.registries.live_registry import OCI_MANIFEST, RegistryClient, digest_of, image_manifest
from parts.web.live_api import Api

APP = "/images/owner/app"
IMMUTABLE = {"immutable": ["v*"], "mutable": ["v0*"]}


@pytest.fixture
def registry(api: Api) -> RegistryClient:
    return RegistryClient(api.session, api.url, api.tokens[Role.ADMIN])


async def history(api: Api, reference: str = "owner/app:latest", **query: Any) -> list[tuple[str, str, str]]:
    answer = await api.ask("GET", f"/history/{reference}", params=query)
    assert answer.status == 200, answer.body
    return [(one["action"], one["before"], one["digest"]) for one in answer.body]


async def pointed(registry: RegistryClient, tag: str = "latest") -> str:
    async with registry.request("HEAD", f"/v2/owner/app/manifests/{tag}") as response:
        return str(response.headers.get("Docker-Content-Digest", ""))


async def test_the_past_of_a_tag_tells_who_moved_it_from_where(api: Api, registry: RegistryClient) -> None:
    one = await registry.push_image("owner/app", "latest", b"one")
    two = await registry.push_image("owner/app", "latest", b"two")
    await registry.push_image("owner/app", "latest", b"two")
    assert await registry.status("DELETE", "/v2/owner/app/manifests/latest") == 202

    assert await history(api) == [("untag", two, ""), ("tag", one, two), ("tag", "", one)]
    first, second = (await api.ask("GET", "/history/owner/app", params={"limit": "2"})).body
    assert first["actor"] == {"name": "admin", "role": "admin", "address": "127.0.0.1"}
    assert (second["action"], second["tag"], second["digest"]) == ("push", "", two)
    assert await history(api, after=str(second["id"]), limit="1") == [("tag", one, two)]
    assert await history(api, "owner/other") == []


async def test_undo_goes_back_and_forth_and_brings_a_removed_tag_back(api: Api, registry: RegistryClient) -> None:
    one = await registry.push_image("owner/app", "latest", b"one")
    two = await registry.push_image("owner/app", "latest", b"two")

    undone = await api.ask("PUT", f"{APP}:latest", {"undo": True})
    assert (undone.status, undone.body) == (
        200,
        {"repository": "owner/app", "tag": "latest", "before": two, "digest": one},
    )
    assert await pointed(registry) == one
    await api.ask("PUT", f"{APP}:latest", {"undo": True})
    assert await pointed(registry) == two

    assert (await api.ask("DELETE", f"{APP}:latest")).status == 200
    assert await pointed(registry) == ""
    assert (await api.ask("PUT", f"{APP}:latest", {"undo": True})).status == 200
    assert await pointed(registry) == two


async def test_a_tag_is_let_point_at_a_digest_or_another_tag(api: Api, registry: RegistryClient) -> None:
    one = await registry.push_image("owner/app", "1.0", b"one")
    two = await registry.push_image("owner/app", "latest", b"two")

    assert (await api.ask("PUT", f"{APP}:latest", {"to": "1.0"})).body["before"] == two
    assert await pointed(registry) == one
    assert (await api.ask("PUT", f"{APP}:stable", {"to": two})).body["before"] == ""
    assert await pointed(registry, "stable") == two
    assert (await api.ask("PUT", f"{APP}:stable", {"to": one[:19]})).body["digest"] == one


async def test_what_cannot_be_undone_or_reached_is_told(api: Api, registry: RegistryClient) -> None:
    one = await registry.push_image("owner/app", "new", b"one")
    two = await registry.push_image("owner/app", "new", b"two")
    cases: list[tuple[str, object, int, str]] = [
        (f"{APP}:never", {"undo": True}, 404, "Nothing is known"),
        (f"{APP}:new", {"to": "absent"}, 404, "no tag"),
        (f"{APP}:new", {"to": "sha256:" + "0" * 64}, 404, "no manifest"),
        (f"{APP}:new", {"to": "sha256:" + "0" * 12}, 404, "no manifest"),
        (f"{APP}:new", {"to": one[:14]}, 404, "no tag"),
        (f"{APP}:new", {}, 400, "Say where to"),
        (f"{APP}:new", {"to": "x", "undo": True}, 400, "Say where to"),
        (f"{APP}", {"undo": True}, 400, "whole repository"),
        (f"{APP}@{two}", {"undo": True}, 400, "whole repository"),
        (f"{APP}:_build-1-1", {"to": two}, 400, "belongs to a build"),
        (f"{APP}:new", {"to": "_build-1-1"}, 404, "no tag"),
        ("/images/Owner:x", {"undo": True}, 400, "names no image"),
        ("/images/", {"undo": True}, 400, "names no image"),
    ]
    for path, body, status, words in cases:
        answer = await api.ask("PUT", path, body)
        assert answer.status == status, path
        assert words in answer.error

    assert (await api.ask("DELETE", f"{APP}@{one}")).status == 200
    gone = await api.ask("PUT", f"{APP}:new", {"undo": True})
    assert (gone.status, gone.error) == (404, f"The repository owner/app has no manifest {one}.")
    assert (await api.ask("DELETE", f"{APP}@{one}")).status == 404
    assert (await api.ask("DELETE", f"{APP}:absent")).status == 404
    await api.ask("PUT", f"{APP}:once", {"to": two})
    assert (await api.ask("PUT", f"{APP}:once", {"undo": True})).status == 409


async def test_an_immutable_tag_is_refused_with_the_rule(api: Api, registry: RegistryClient) -> None:
    one = await registry.push_image("owner/app", "v1", b"one")
    assert (await api.ask("PUT", "/registry/rules/owner/*", IMMUTABLE)).status == 200

    await registry.push_image("owner/app", "v1", b"one")
    await registry.push_image("owner/app", "v0.9", b"one")
    two = await registry.push_image("owner/app", "v0.9", b"two")
    config, layer = [await registry.push_blob("owner/app", data) for data in (b"{}", b"three")]
    body = image_manifest((config, 2), (layer, 5))
    path, headers = "/v2/owner/app/manifests/v1", {"Content-Type": OCI_MANIFEST}
    async with registry.request("PUT", path, json=body, headers=headers) as response:
        error = (await response.json())["errors"][0]
        assert (response.status, error["code"]) == (403, "DENIED")
        assert "owner/app:v1 is immutable by the rule for owner/*" in error["message"]
    assert await registry.refusal("DELETE", path) == (403, "DENIED")
    assert await registry.refusal("DELETE", f"/v2/owner/app/manifests/{one}") == (403, "DENIED")
    assert (await api.ask("PUT", f"{APP}:v1", {"to": two})).status == 403
    assert (await api.ask("DELETE", f"{APP}:v1")).status == 403
    assert await pointed(registry, "v1") == one

    assert (await api.ask("DELETE", "/registry/rules/owner/*")).status == 200
    assert (await api.ask("PUT", f"{APP}:v1", {"to": two})).status == 200


async def test_rules_are_listed_and_what_is_wrong_with_one_is_told(api: Api) -> None:
    assert (await api.ask("PUT", "/registry/rules/**", {"quota": 5, "keep": {"last": 3}})).status == 200
    listed = (await api.ask("GET", "/registry/rules")).body
    assert [(rule["repositories"], rule["quota"], rule["keep"]["last"]) for rule in listed] == [("**", 5, 3)]

    for path, body in (("A", {"quota": 1}), ("a", {}), ("a", {"keep": {}}), ("a", {"quota": -1}), ("a", {"x": 1})):
        assert (await api.ask("PUT", f"/registry/rules/{path}", body)).status == 400
    assert (await api.ask("DELETE", "/registry/rules/none")).status == 404


async def test_a_whole_repository_is_emptied_and_listed_no_more(api: Api, registry: RegistryClient) -> None:
    for number in range(3):
        await registry.push_image("owner/app", f"v{number}", b"%d" % number)
    await registry.push_image("owner/other", "1")
    assert (await api.ask("DELETE", APP)).status == 400
    assert (await api.ask("DELETE", f"{APP}:v1", params={"everything": "1"})).status == 400
    await api.ask("PUT", "/registry/rules/owner/*", IMMUTABLE)
    refused = await api.ask("DELETE", APP, params={"everything": "1"})
    assert (refused.status, "owner/app:v1 is immutable by the rule for owner/*" in refused.error) == (403, True)
    assert await pointed(registry, "v2") != ""
    await api.ask("DELETE", "/registry/rules/owner/*")

    assert (await api.ask("DELETE", APP, params={"everything": "1"})).status == 200

    assert await pointed(registry, "v2") == ""
    async with registry.request("GET", "/v2/_catalog") as response:
        assert (await response.json())["repositories"] == ["owner/other"]
    assert [one["name"] for one in (await api.ask("GET", "/images")).body] == ["owner/other"]
    assert (await api.ask("DELETE", APP, params={"everything": "1"})).status == 404
    assert [one[0] for one in await history(api, "owner/app")][:2] == ["delete", "untag"]
    await registry.push_image("owner/app", "new")
    assert await pointed(registry, "new") != ""


async def judged(api: Api, method: str = "GET", **query: str) -> tuple[dict[str, str], dict[str, int]]:
    answer = await api.ask(method, "/registry/retention", params=query)
    assert answer.status == 200, answer.body
    *verdicts, last = [json.loads(line) for line in answer.body.splitlines()]
    return {one["tag"]["tag"]: one["tag"]["why"] for one in verdicts if not one["tag"]["kept"]}, last["done"]


async def test_retention_tells_what_it_would_do_then_does_it_and_it_can_be_undone(
    api: Api, registry: RegistryClient
) -> None:
    digests = [await registry.push_image("owner/app", f"1.{number}.0", b"%d" % number) for number in range(4)]
    await registry.push_image("owner/other", "1.0.0")
    await api.ask("PUT", "/registry/rules/owner/app", {"keep": {"last": 1, "pulled_days": 1, "always": ["1.0.*"]}})
    assert await registry.status("HEAD", "/v2/owner/app/manifests/1.1.0") == 200

    going = {"1.2.0": "the rule for owner/app keeps the newest image; what was pulled within 1 day; 1.0.*"}
    assert await judged(api) == (going, {"kept": 3, "removed": 1})
    assert [one["name"] for one in (await api.ask("GET", APP)).body["tags"]] == ["1.0.0", "1.1.0", "1.2.0", "1.3.0"]
    assert await judged(api, "POST", repositories="other/**") == ({}, {"kept": 0, "removed": 0})
    assert await judged(api, "POST") == (going, {"kept": 3, "removed": 1})

    assert await pointed(registry, "1.2.0") == ""
    assert (await api.ask("PUT", f"{APP}:1.2.0", {"undo": True})).status == 200
    assert await pointed(registry, "1.2.0") == digests[2]
    assert (await api.ask("GET", "/registry/retention", params={"repositories": "A"})).status == 400


async def test_a_quota_is_refused_at_the_layer_that_does_not_fit_and_at_the_next_upload(
    api: Api, registry: RegistryClient
) -> None:
    await registry.push_image("owner/app", "1", b"x" * 1000)
    await api.ask("PUT", "/registry/rules/owner/**", {"quota": 3000})
    await registry.push_image("owner/copy", "1", b"x" * 1000)
    large = b"y" * 2000

    for path in (f"?digest={digest_of(large)}", ""):
        location = f"/v2/owner/app/blobs/uploads/{path}"
        if not path:
            location = f"{await registry.begin('owner/app')}?digest={digest_of(large)}"
        method = "POST" if path else "PUT"
        async with registry.request(method, location, data=io.BytesIO(large)) as response:
            error = (await response.json())["errors"][0]
            assert (response.status, error["code"]) == (403, "DENIED")
            assert "The quota of the rule for owner/** is exceeded: 2.9 KiB" in error["message"]
    assert await registry.status("GET", f"/v2/owner/app/blobs/{digest_of(large)}") == 404
    assert list((api.folder / "registry" / "uploads").iterdir()) == []

    await registry.push_blob("owner/app", b"z" * 1000)
    await api.ask("PUT", "/registry/rules/owner/**", {"quota": 1500})
    assert await registry.refusal("POST", "/v2/owner/app/blobs/uploads/") == (403, "DENIED")
    await registry.push_image("elsewhere", "1", large)
    mount = f"/v2/owner/app/blobs/uploads/?mount={digest_of(large)}&from=elsewhere"
    assert await registry.refusal("POST", mount) == (403, "DENIED")
    assert await registry.status("GET", "/v2/owner/app/manifests/1") == 200

    there = b"z" * 1000  # what is there needs no room, however it is pushed again
    for body, query in ((there, f"?digest={digest_of(there)}"), (None, f"?mount={digest_of(there)}"),
                        (None, f"?mount={digest_of(there)}&from=not/there")):  # fmt: skip
        path = f"/v2/owner/app/blobs/uploads/{query}"
        assert await registry.status("POST", path, data=None if body is None else io.BytesIO(body)) == 201
    begun = await registry.begin("owner/copy", f"?mount={digest_of(there)}&from=not/there")  # of the same rule
    assert await registry.status("PUT", f"{begun}?digest={digest_of(there)}", data=io.BytesIO(there)) == 201


async def test_only_admins_and_the_operator_change_tags_and_rules(api: Api, registry: RegistryClient) -> None:
    await registry.push_image("owner/app", "x")
    for role in (Role.WORKER, Role.MAILER, Role.DEPLOYER):
        for method, path in (
            ("GET", "/history/owner/app"),
            ("PUT", f"{APP}:x"),
            ("DELETE", f"{APP}:x"),
            ("GET", "/registry/retention"),
            ("POST", "/registry/retention"),
            ("GET", "/registry/rules"),
            ("PUT", "/registry/rules/**"),
            ("DELETE", "/registry/rules/**"),
        ):
            assert (await api.ask(method, path, {}, role=role)).status == 403
    assert await pointed(registry, "x")


async def test_grants_say_who_moves_and_removes_tags_and_sees_their_past(api: Api, registry: RegistryClient) -> None:
    await registry.push_image("owner/app", "x")
    await api.ask("POST", "/users", {"name": "ann", "password": "correct horse"})
    ann = {"Authorization": aiohttp.encode_basic_auth("ann", "correct horse")}

    async def asked(method: str, path: str, body: object = None) -> int:
        return (await api.ask(method, path, body, role=None, headers=ann)).status

    async def granted(*allow: str) -> list[int]:
        await api.ask("POST", "/grants", {"account": "ann", "repository": "owner/*", "allow": allow})
        tag = f"{APP}:{allow[-1]}"
        return [
            await asked("GET", "/history/owner/app"),
            await asked("PUT", tag, {"to": "x"}),
            await asked("DELETE", tag),
        ]

    assert await asked("GET", "/history/owner/app") == 404
    assert await asked("PUT", f"{APP}:y", {"to": "x"}) == 404
    assert await granted("pull") == [200, 403, 403]
    assert await granted("pull", "push") == [200, 200, 403]
    assert await granted("pull", "push", "delete") == [200, 200, 200]
    assert await asked("GET", "/registry/rules") == 403
    for _ in range(3):
        await api.ask("POST", "/grants", {"account": "ann", "repository": "owner/app", "allow": ["pull"]})
    newest = (await api.ask("GET", "/history/owner/app", role=None, headers=ann, params={"limit": "2"})).body
    assert len(newest) == 2  # whoever reads on until an answer is empty reads all
    of_all = (await api.ask("GET", "/history/owner/app", role=None, headers=ann)).body
    assert "grant" not in {one["action"] for one in of_all}
    assert "grant" in {one["action"] for one in (await api.ask("GET", "/history/owner/app")).body}
    told = await api.ask("GET", "/history/owner/app:x", role=None, headers=ann)
    assert [one["actor"] for one in told.body] == [{"name": "admin", "role": "admin", "address": ""}]
