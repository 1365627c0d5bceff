from __future__ import annotations

import hashlib
import hmac
from typing import Any

import pytest

from lumper.errors import HookMalformed
from lumper.forges.adapters.bitbucket_cloud import BitbucketCloud
from lumper.forges.adapters.bitbucket_server import BitbucketServer
from lumper.forges.port import Forge, Request
from lumper.forges.rules import candidates, explain_delivery
from lumper.model.source import Person, Verdict
from parts.git import deliveries
from parts.git.projects import project_at

COMMIT = "5f0c6a9d3b7e4182a6c0d9e8f7b6a5c4d3e2f101"
FORGES: list[Forge] = [BitbucketCloud(), BitbucketServer()]
SECRET = "correct horse"
both = pytest.mark.parametrize("forge", FORGES, ids=lambda forge: forge.name)


def _with(request: Request, **headers: str) -> Request:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request({**request.headers, **named}, request.body)


@both
class TestSignature:
    def test_the_right_secret_verifies_and_another_does_not(self, forge: Forge) -> None:
        request = deliveries.fixture(f"{forge.name}/push_tag", secret=SECRET)
        assert forge.verify(request, SECRET)
        assert not forge.verify(request, SECRET + "!")
        assert not forge.verify(Request(request.headers, request.body + b" "), SECRET)

    def test_the_hook_s_uuid_alone_proves_nothing(self, forge: Forge) -> None:
        request = deliveries.fixture(f"{forge.name}/push_tag")
        assert not forge.verify(request, request.headers["x-hook-uuid"])
        assert not forge.verify(request, "")

    def test_sha1_and_an_empty_secret_do_not_verify(self, forge: Forge) -> None:
        request = deliveries.fixture(f"{forge.name}/push_tag")
        sha1 = hmac.new(SECRET.encode(), request.body, hashlib.sha1).hexdigest()
        empty = hmac.new(b"", request.body, hashlib.sha256).hexdigest()
        assert not forge.verify(_with(request, x_hub_signature=f"sha1={sha1}"), SECRET)
        assert not forge.verify(_with(request, x_hub_signature=f"sha256={empty}"), "")


@both
class TestParsing:
    def test_a_tag_is_read_with_its_commit_and_pusher(self, forge: Forge) -> None:
        (push,) = forge.parse(deliveries.fixture(f"{forge.name}/push_tag")).pushes
        assert (push.ref, push.commit, push.deleted) == ("refs/tags/v1.2.3", COMMIT, False)
        assert push.pusher.name == "ada"

    def test_each_change_of_a_delivery_is_a_push(self, forge: Forge) -> None:
        request = deliveries.fixture(f"{forge.name}/push_several")
        refs = [push.ref for push in forge.parse(request).pushes]
        assert refs[:2] == ["refs/heads/main", "refs/tags/v1.2.3"]
        builds = explain_delivery(forge, request).pushes
        assert [push.ref for push in builds] == refs[1:]

    def test_a_deleted_tag_never_builds(self, forge: Forge) -> None:
        request = deliveries.fixture(f"{forge.name}/push_deleted_tag")
        assert forge.parse(request).pushes[0].deleted
        assert explain_delivery(forge, request).verdict is Verdict.IGNORED

    @pytest.mark.parametrize("change", [{}, 7, [], None, {"new": 7}, {"ref": "x"}, {"toHash": "HEAD"}])
    def test_a_change_of_another_kind_is_malformed(self, forge: Forge, change: Any) -> None:
        changes: dict[str, Any] = {"push": {"changes": [change]}, "changes": [change]}
        with pytest.raises(HookMalformed):
            forge.parse(deliveries.fixture(f"{forge.name}/push_tag", **changes))

    @pytest.mark.parametrize("field", ["repository", "actor"])
    def test_a_field_of_another_kind_is_malformed(self, forge: Forge, field: str) -> None:
        changes: dict[str, Any] = {field: 7}
        with pytest.raises(HookMalformed):
            forge.parse(deliveries.fixture(f"{forge.name}/push_tag", **changes))

    def test_the_delivery_id_is_the_forge_s(self, forge: Forge) -> None:
        assert forge.parse(deliveries.fixture(f"{forge.name}/push_tag")).delivery_id == "7f1c0000-eeee"


@pytest.mark.parametrize(
    "name",
    [
        "bitbucket-cloud/push_nothing",
        "bitbucket-cloud/pullrequest",
        "bitbucket-server/ping",
        "bitbucket-server/mirror",
        "bitbucket-server/pull_request",
        "bitbucket-server/repository_renamed",
    ],
)
def test_what_moves_no_ref_is_ignored_with_a_reason(name: str) -> None:
    forge = next(forge for forge in FORGES if name.startswith(forge.name))
    explanation = explain_delivery(forge, deliveries.fixture(name))
    assert (explanation.verdict, bool(explanation.reason)) == (Verdict.IGNORED, True)


def test_servers_before_5_4_say_the_event_in_the_body_alone() -> None:
    request = deliveries.fixture("bitbucket-server/push_tag")
    headers = {name: value for name, value in request.headers.items() if name != "x-event-key"}
    assert len(BitbucketServer().parse(Request(headers, request.body)).pushes) == 1
    assert BitbucketServer().parse(request).pushes[0].pusher == Person("ada", "ada@example.org")


@pytest.mark.parametrize("name", ["push_tag", "push_tag_without_links"])
@pytest.mark.parametrize(
    "url",
    [
        "https://bitbucket.example.org/scm/demo/hello.git",
        "ssh://git@bitbucket.example.org:7999/demo/hello.git",
        "https://bitbucket.example.org/bitbucket/scm/demo/hello.git",
    ],
)
def test_a_server_s_delivery_finds_its_project_by_either_clone_url(url: str, name: str) -> None:
    parsed = BitbucketServer().parse(deliveries.fixture(f"bitbucket-server/{name}"))
    assert parsed.repository == "DEMO/hello"
    mine, other = project_at(url), project_at("https://bitbucket.example.org/scm/other/hello.git")
    assert candidates(parsed, [other, mine]) == [mine]


@pytest.mark.parametrize("name", ["pull_request", "repository_renamed"])
def test_events_without_a_repository_of_their_own_are_of_the_one_that_they_change(name: str) -> None:
    parsed = BitbucketServer().parse(deliveries.fixture(f"bitbucket-server/{name}"))
    assert (parsed.repository, parsed.pushes) == ("DEMO/hello", ())
