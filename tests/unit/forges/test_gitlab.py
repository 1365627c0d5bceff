from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from lumper.errors import HookMalformed
from lumper.forges.adapters.gitlab import GitLab
from lumper.forges.port import Request
from lumper.forges.rules import explain_delivery
from lumper.model.source import Person, Verdict
from parts.git import deliveries

COMMIT = "5f0c6a9d3b7e4182a6c0d9e8f7b6a5c4d3e2f101"
NOW = 1_790_000_000
KEY = b"thirty-two bytes of signing key!"
TOKEN = "whsec_" + base64.b64encode(KEY).decode()
BODY = json.dumps(deliveries.payload("gitlab/push_tag")).encode()


def _gitlab(now: float = NOW) -> GitLab:
    return GitLab(clock=lambda: now)


def _signed(*, key: bytes = KEY, at: int = NOW) -> Request:
    return deliveries.signed_by_gitlab("Tag Push Hook", BODY, key=key, at=at)


def _with(request: Request, **headers: str) -> Request:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request({**request.headers, **named}, request.body)


class TestToken:
    def test_the_secret_as_it_is_verifies_and_nothing_else_does(self) -> None:
        request = deliveries.fixture("gitlab/push_tag", secret="correct horse")
        assert _gitlab().verify(request, "correct horse")
        for wrong in ("correct horse!", "Correct horse", "", "é"):
            assert not _gitlab().verify(request, wrong)

    def test_without_a_token_or_with_an_empty_one_nothing_verifies(self) -> None:
        bare = deliveries.fixture("gitlab/push_tag")
        for request in (bare, _with(bare, x_gitlab_token="")):
            assert not _gitlab().verify(request, "")
            assert not _gitlab().verify(request, "secret")

    @pytest.mark.parametrize("token", ["\udcff", "\ud800", "é", "x" * 99_999])
    def test_a_strange_token_does_not_verify_and_does_not_raise(self, token: str) -> None:
        assert not _gitlab().verify(_with(deliveries.fixture("gitlab/push_tag"), x_gitlab_token=token), "secret")


class TestSignature:
    def test_a_signature_of_the_token_s_key_verifies(self) -> None:
        assert _gitlab().verify(_signed(), TOKEN)
        assert not _gitlab().verify(_signed(key=KEY[::-1]), TOKEN)

    def test_a_signature_of_a_secret_without_the_prefix_is_over_its_own_bytes(self) -> None:
        assert _gitlab().verify(_signed(key=b"plain secret"), "plain secret")

    def test_one_good_signature_among_several_is_enough(self) -> None:
        request = _signed()
        good = request.headers["webhook-signature"]
        assert _gitlab().verify(_with(request, webhook_signature=f"v1a,AAAA v1,AAAA {good}"), TOKEN)
        assert not _gitlab().verify(_with(request, webhook_signature="v1,AAAA " * 20 + good), TOKEN)

    def test_a_bad_signature_is_not_made_good_by_the_right_token(self) -> None:
        for signature in ("v1,AAAA", "", "v1,"):
            request = _with(_signed(), webhook_signature=signature, x_gitlab_token=TOKEN)
            assert not _gitlab().verify(request, TOKEN)

    @pytest.mark.parametrize("shift", [-600, -301, 301, 600])
    def test_an_old_or_future_delivery_does_not_verify(self, shift: int) -> None:
        assert not _gitlab(NOW + shift).verify(_signed(), TOKEN)

    @pytest.mark.parametrize("shift", [-299, 0, 299])
    def test_clocks_may_differ_by_five_minutes(self, shift: int) -> None:
        assert _gitlab(NOW + shift).verify(_signed(), TOKEN)

    @pytest.mark.parametrize("at", ["", "now", "-1", "1e9", "١٢", "9" * 40, str(NOW) + " "])
    def test_a_time_that_is_no_number_does_not_verify(self, at: str) -> None:
        assert not _gitlab().verify(_with(_signed(), webhook_timestamp=at), TOKEN)

    @pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp"])
    def test_without_its_id_or_time_it_does_not_verify(self, name: str) -> None:
        request = _signed()
        headers = {key: value for key, value in request.headers.items() if key != name}
        assert not _gitlab().verify(Request(headers, request.body), TOKEN)

    def test_another_id_time_or_body_does_not_verify(self) -> None:
        request = _signed()
        assert not _gitlab().verify(_with(request, webhook_id="msg_2"), TOKEN)
        assert not _gitlab().verify(_with(request, webhook_timestamp=str(NOW + 1)), TOKEN)
        assert not _gitlab().verify(Request(request.headers, request.body + b" "), TOKEN)

    @pytest.mark.parametrize("secret", ["", "whsec_", "whsec_!!", "whsec_é", "whsec_A"])
    def test_a_secret_that_is_no_key_verifies_nothing(self, secret: str) -> None:
        assert not _gitlab().verify(_signed(key=b""), secret)


class TestParsing:
    def test_an_annotated_tag_is_built_at_its_commit(self) -> None:
        for name in ("push_tag", "push_annotated_tag", "system_hook_tag"):
            (push,) = _gitlab().parse(deliveries.fixture(f"gitlab/{name}")).pushes
            assert (push.ref, push.commit, push.deleted) == ("refs/tags/v1.2.3", COMMIT, False)
            assert push.pusher == Person("ada", "ada@example.org")

    def test_a_deleted_tag_under_push_hook_is_a_deletion(self) -> None:
        (push,) = _gitlab().parse(deliveries.fixture("gitlab/push_deleted_tag")).pushes
        assert push.deleted

    def test_a_tag_without_a_commit_is_a_deletion_whatever_after_says(self) -> None:
        request = deliveries.fixture("gitlab/push_tag", checkout_sha=None)
        assert explain_delivery(_gitlab(), request).verdict is Verdict.IGNORED

    def test_subgroups_are_part_of_the_name(self) -> None:
        assert _gitlab().parse(deliveries.fixture("gitlab/push_tag")).repository == "demo/tools/hello"

    def test_a_hidden_address_is_none(self) -> None:
        (push,) = _gitlab().parse(deliveries.fixture("gitlab/push_tag", user_email="[REDACTED]")).pushes
        assert push.pusher == Person("ada", "")

    def test_other_events_are_ignored_with_a_reason(self) -> None:
        for name, words in (
            ("push_branch", "only tags are built"),
            ("release", "the push of its tag"),
            ("system_hook_user", "moves no ref"),
            ("system_hook_repository_update", "each one's Tag push event"),
        ):
            explanation = explain_delivery(_gitlab(), deliveries.fixture(f"gitlab/{name}"))
            assert explanation.verdict is Verdict.IGNORED
            assert words in explanation.reason

    def test_two_tags_that_were_pushed_together_are_two_deliveries(self) -> None:
        ids = set()
        for tag in ("v1", "v2"):
            request = deliveries.fixture("gitlab/push_tag", ref=f"refs/tags/{tag}")
            headers = {name: value for name, value in request.headers.items() if name != "idempotency-key"}
            ids.add(_gitlab().parse(Request(headers | {"x-gitlab-event-uuid": "one"}, request.body)).delivery_id)
        assert len(ids) == 2

    @pytest.mark.parametrize(
        "changes",
        [
            {"ref": None},
            {"ref": "refs/tags/" + "x" * 9999},
            {"after": "HEAD"},
            {"after": None},
            {"checkout_sha": "--all"},
            {"checkout_sha": 7},
            {"object_kind": "tag push"},
            {"user_username": {}},
            {"project": None},
            {"project": {"path_with_namespace": "a//b"}},
        ],
        ids=repr,
    )
    def test_a_field_of_another_kind_is_malformed(self, changes: dict[str, Any]) -> None:
        with pytest.raises(HookMalformed):
            _gitlab().parse(deliveries.fixture("gitlab/push_tag", **changes))


@pytest.mark.parametrize("name", ["job", "merge_request_of_an_old_gitlab", "system_hook_project"])
def test_the_project_is_found_wherever_an_event_names_it(name: str) -> None:
    request = deliveries.fixture(f"gitlab/{name}")
    assert GitLab().parse(request).repository == "demo/tools/hello"
    explanation = explain_delivery(GitLab(), request)
    assert (explanation.verdict, explanation.pushes) == (Verdict.IGNORED, ())


def test_a_tag_of_a_gitlab_that_names_no_project_builds() -> None:
    request = deliveries.fixture("gitlab/push_tag_of_an_old_gitlab")
    (push,) = explain_delivery(GitLab(), request).pushes
    assert (push.repository, push.ref) == ("demo/tools/hello", "refs/tags/v1.2.3")
