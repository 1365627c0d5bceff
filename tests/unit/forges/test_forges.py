from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from lumper.errors import HookMalformed
from lumper.forges.adapters.gitea import Gitea
from lumper.forges.adapters.github import GitHub
from lumper.forges.port import Forge, Request
from lumper.model.source import Person
from parts.git import deliveries

COMMIT = "5f0c6a9d3b7e4182a6c0d9e8f7b6a5c4d3e2f101"
FORGES: list[Forge] = [GitHub(), Gitea()]
SECRET = "correct horse"


def _tag_of(forge: Forge) -> str:
    return "github/push_annotated_tag" if forge.name == "github" else "gitea/push_tag"


def _without(request: Request, *names: str) -> Request:
    return Request({name: value for name, value in request.headers.items() if name not in names}, request.body)


def _with(request: Request, **headers: str) -> Request:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request({**request.headers, **named}, request.body)


def _raw(forge: Forge, event: str, body: bytes) -> Request:
    return deliveries.made("github", event, body) if forge.name == "github" else deliveries.made("gitea", event, body)


@pytest.mark.parametrize("forge", FORGES, ids=lambda forge: forge.name)
class TestSignature:
    def test_the_right_secret_verifies_and_another_does_not(self, forge: Forge) -> None:
        request = deliveries.fixture(_tag_of(forge), secret=SECRET)
        assert forge.verify(request, SECRET)
        assert not forge.verify(request, SECRET + "!")

    def test_one_changed_byte_of_the_body_does_not_verify(self, forge: Forge) -> None:
        request = deliveries.fixture(_tag_of(forge), secret=SECRET)
        assert not forge.verify(Request(request.headers, request.body + b" "), SECRET)

    def test_an_empty_secret_never_verifies_not_even_its_own_signature(self, forge: Forge) -> None:
        body = json.dumps(deliveries.payload(_tag_of(forge))).encode()
        signature = deliveries.sign("", body)
        request = _with(
            _raw(forge, "push", body), x_hub_signature_256=f"sha256={signature}", x_gitea_signature=signature
        )
        assert not forge.verify(request, "")

    def test_empty_signatures_as_gitea_sends_them_without_a_secret_do_not_verify(self, forge: Forge) -> None:
        request = _with(deliveries.fixture("gitea/push_tag"), x_hub_signature="sha1=", x_hub_signature_256="sha256=")
        assert not forge.verify(request, SECRET)
        assert not forge.verify(request, "")

    def test_no_signature_does_not_verify(self, forge: Forge) -> None:
        assert not forge.verify(_without(deliveries.fixture(_tag_of(forge)), "x-gitea-signature"), SECRET)

    def test_a_sha1_signature_does_not_verify(self, forge: Forge) -> None:
        request = deliveries.fixture(_tag_of(forge))
        sha1 = hashlib.sha1(request.body).hexdigest()
        assert not forge.verify(_with(request, x_hub_signature=f"sha1={sha1}"), SECRET)

    @pytest.mark.parametrize("value", ["sha256=é", "\udcff", "\ud800", "\x00", "sha256=" + "ａ" * 64, "sha256=" * 9999])
    def test_a_strange_signature_does_not_verify_and_does_not_raise(self, forge: Forge, value: str) -> None:
        request = _with(deliveries.fixture(_tag_of(forge)), x_hub_signature_256=value, x_gitea_signature=value)
        assert not forge.verify(request, SECRET)


class TestForms:
    body = json.dumps(deliveries.payload("github/push_annotated_tag") | {"note": "ünï & = +"}, ensure_ascii=False)

    def test_github_signs_the_form_itself(self) -> None:
        form = deliveries.as_form(deliveries.made("github", "push", b""), self.body.encode())
        over_form = _with(form, x_hub_signature_256="sha256=" + deliveries.sign(SECRET, form.body))
        over_json = _with(form, x_hub_signature_256="sha256=" + deliveries.sign(SECRET, self.body.encode()))
        assert GitHub().verify(over_form, SECRET)
        assert not GitHub().verify(over_json, SECRET)
        assert GitHub().parse(over_form).pushes[0].commit == COMMIT

    def test_gitea_signs_the_json_inside(self) -> None:
        form = deliveries.as_form(deliveries.made("gitea", "push", b""), self.body.encode())
        over_form = _with(form, x_gitea_signature=deliveries.sign(SECRET, form.body))
        over_json = _with(form, x_gitea_signature=deliveries.sign(SECRET, self.body.encode()))
        assert Gitea().verify(over_json, SECRET)
        assert not Gitea().verify(over_form, SECRET)
        assert Gitea().parse(over_json).pushes[0].commit == COMMIT

    @pytest.mark.parametrize(
        "body", [b"", b"payload", b"payload={}&payload={}", b"x=1", b"payload=%ff", b"payload=\xff", b"a=1&" * 99]
    )
    @pytest.mark.parametrize("forge", FORGES, ids=lambda forge: forge.name)
    def test_a_form_without_exactly_one_payload_is_malformed(self, forge: Forge, body: bytes) -> None:
        request = _with(_raw(forge, "push", body), content_type="application/x-www-form-urlencoded; charset=utf-8")
        assert not forge.verify(request, SECRET)
        with pytest.raises(HookMalformed):
            forge.parse(request)


class TestForgejo:
    def test_its_own_header_verifies_alone_and_beside_gitea_s(self) -> None:
        request = deliveries.fixture("gitea/push_tag", secret=SECRET)
        signature = request.headers["x-gitea-signature"]
        both = _with(request, x_forgejo_signature=signature)
        assert Gitea().verify(both, SECRET)
        assert Gitea().verify(_without(both, "x-gitea-signature"), SECRET)

    def test_two_headers_that_differ_do_not_verify(self) -> None:
        request = deliveries.fixture("gitea/push_tag", secret=SECRET)
        assert not Gitea().verify(_with(request, x_forgejo_signature="0" * 64), SECRET)
        assert not Gitea().verify(_with(request, x_forgejo_signature=""), SECRET)

    def test_its_event_header_is_read(self) -> None:
        request = _without(deliveries.fixture("gitea/push_tag"), "x-gitea-event", "x-github-event", "x-gogs-event")
        assert len(Gitea().parse(_with(request, x_forgejo_event="push")).pushes) == 1


class TestParsing:
    def test_an_annotated_tag_s_push_tells_the_commit_and_not_the_tag_object(self) -> None:
        for name in ("github/push_annotated_tag", "github/push_lightweight_tag"):
            (push,) = GitHub().parse(deliveries.fixture(name)).pushes
            assert (push.ref, push.commit, push.deleted) == ("refs/tags/v1.2.3", COMMIT, False)
        assert Gitea().parse(deliveries.fixture("gitea/push_tag")).pushes[0].commit == COMMIT

    def test_without_a_head_commit_after_is_all_there_is(self) -> None:
        request = deliveries.fixture("github/push_lightweight_tag", head_commit=None)
        assert GitHub().parse(request).pushes[0].commit == COMMIT

    def test_the_repository_its_urls_and_the_pusher_are_read(self) -> None:
        parsed = GitHub().parse(deliveries.fixture("github/push_annotated_tag"))
        assert parsed.repository == "Demo/hello"
        assert parsed.urls[0] == "https://github.com/Demo/hello.git"
        assert parsed.pushes[0].pusher == Person("octocat", "octo@example.org")
        assert Gitea().parse(deliveries.fixture("gitea/push_tag")).pushes[0].pusher == Person("ada", "ada@example.org")

    def test_a_deletion_is_one_by_its_zeros_or_by_its_flag(self) -> None:
        for changes in ({}, {"deleted": False}, {"after": COMMIT, "deleted": True}):
            (push,) = GitHub().parse(deliveries.fixture("github/push_deleted_tag", **changes)).pushes
            assert push.deleted

    def test_the_delivery_id_is_the_forge_s_or_the_body_s_hash(self) -> None:
        request = deliveries.fixture("github/ping")
        body_hash = hashlib.sha256(request.body).hexdigest()
        assert GitHub().parse(request).delivery_id == "7f1c0000-aaaa"
        assert GitHub().parse(_without(request, "x-github-delivery")).delivery_id == body_hash
        assert GitHub().parse(_with(request, x_github_delivery="a b\n")).delivery_id == body_hash
        assert Gitea().parse(deliveries.fixture("gitea/create_tag")).delivery_id == "7f1c0000-bbbb"

    def test_gitea_s_delivery_at_github_s_door_is_sent_to_its_own(self) -> None:
        with pytest.raises(HookMalformed) as caught:
            GitHub().parse(deliveries.fixture("gitea/push_tag"))
        assert "/hooks/gitea" in caught.value.hint

    def test_an_event_of_no_repository_is_read(self) -> None:
        assert GitHub().parse(deliveries.fixture("github/installation")).repository == ""

    @pytest.mark.parametrize("event", ["push\r\nX: y", "pu sh", "é", "x" * 65])
    @pytest.mark.parametrize("forge", FORGES, ids=lambda forge: forge.name)
    def test_an_event_that_is_no_word_is_malformed(self, forge: Forge, event: str) -> None:
        with pytest.raises(HookMalformed):
            forge.parse(_raw(forge, event, b"{}"))

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"[]",
            b"null",
            b'"x"',
            b"7",
            b"{",
            b"\xff{}",
            b"\xef\xbb\xbf{}",
            b"{}",
            b'{"repository": []}',
            b'{"repository": {"full_name": 7}}',
            b'{"repository": {"full_name": "a/b c"}}',
            b'{"repository": {"full_name": "a//b"}}',
            b'{"a": NaN}',
            b'{"a": -Infinity}',
            b'{"a": 1, "a": 2}',
            b'{"a": [{"b": {"c": 1, "c": 1}}]}',
            b'{"a": "\\ud800"}',
            b'{"a": ["\\uDFFF x"]}',
            b'{"\\ud800": 1}',
            b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
            b'{"a": ' * 100_000 + b"1" + b"}" * 100_000,
            b"[" * 600_000,
            b'{"a": [' + b"{}," * 600_000 + b"{}]}",
            b'{"a": ' + b"9" * 5000 + b"}",
        ],
        ids=lambda body: repr(body[:40]),
    )
    @pytest.mark.parametrize("forge", FORGES, ids=lambda forge: forge.name)
    def test_a_body_that_no_forge_sends_is_malformed(self, forge: Forge, body: bytes) -> None:
        with pytest.raises(HookMalformed) as caught:
            forge.parse(_raw(forge, "push", body))
        assert len(caught.value.sentence) < 300

    @pytest.mark.parametrize(
        "changes",
        [
            {"ref": None},
            {"ref": ["refs/tags/v1"]},
            {"ref": ""},
            {"ref": "refs/tags/" + "x" * 9999},
            {"after": "HEAD"},
            {"after": COMMIT.upper()},
            {"after": COMMIT + "\n"},
            {"after": None},
            {"before": "--all"},
            {"deleted": "yes"},
            {"deleted": 1},
            {"head_commit": []},
            {"head_commit": {"id": "--output=x"}},
            {"head_commit": {}},
            {"pusher": "octocat"},
            {"pusher": {"name": 7}},
            {"pusher": {"name": "x", "email": {}}},
            {"repository": None},
            {"repository": {"full_name": "Demo/hello", "clone_url": 1}},
        ],
        ids=repr,
    )
    @pytest.mark.parametrize("forge", FORGES, ids=lambda forge: forge.name)
    def test_a_push_with_a_field_of_another_kind_is_malformed(self, forge: Forge, changes: dict[str, Any]) -> None:
        with pytest.raises(HookMalformed):
            forge.parse(deliveries.fixture(_tag_of(forge), **changes))

    @pytest.mark.parametrize("forge", FORGES, ids=lambda forge: forge.name)
    def test_an_emoji_as_a_surrogate_pair_is_well_formed(self, forge: Forge) -> None:
        request = deliveries.fixture(_tag_of(forge), note="\U0001f680")
        assert rb"\ud83d\ude80" in request.body
        assert len(forge.parse(request).pushes) == 1
