from __future__ import annotations

from typing import Any

import pytest

from lumper.errors import HookMalformed
from lumper.forges.adapters.gogs import Gogs
from lumper.forges.port import Request
from lumper.forges.rules import explain_delivery
from lumper.model.source import Person, Verdict
from parts.git import deliveries

COMMIT = "5f0c6a9d3b7e4182a6c0d9e8f7b6a5c4d3e2f101"
SECRET = "correct horse"


def test_the_right_secret_verifies_and_an_empty_or_another_one_does_not() -> None:
    request = deliveries.fixture("gogs/create_tag", secret=SECRET)
    assert Gogs().verify(request, SECRET)
    assert not Gogs().verify(request, SECRET + "!")
    assert not Gogs().verify(deliveries.fixture("gogs/create_tag"), "")


def test_the_json_inside_a_form_is_what_is_signed() -> None:
    request = deliveries.fixture("gogs/create_tag", secret=SECRET)
    form = deliveries.as_form(request, request.body)
    assert Gogs().verify(form, SECRET)
    assert len(Gogs().parse(form).pushes) == 1


def test_a_created_tag_is_the_push_of_it() -> None:
    (push,) = Gogs().parse(deliveries.fixture("gogs/create_tag")).pushes
    assert (push.ref, push.commit) == ("refs/tags/v1.2.3", COMMIT)
    assert push.pusher == Person("ada", "ada@example.org")
    assert explain_delivery(Gogs(), deliveries.fixture("gogs/create_tag")).verdict is Verdict.BUILD


@pytest.mark.parametrize("name", ["create_branch", "delete_tag", "push_branch"])
def test_everything_else_is_ignored_with_a_reason(name: str) -> None:
    explanation = explain_delivery(Gogs(), deliveries.fixture(f"gogs/{name}"))
    assert (explanation.verdict, bool(explanation.reason)) == (Verdict.IGNORED, True)


def test_a_gogs_that_does_not_tell_the_commit_is_told_so() -> None:
    explanation = explain_delivery(Gogs(), deliveries.fixture("gogs/create_tag", sha=""))
    assert explanation.verdict is Verdict.IGNORED
    assert "the next look at the repository's tags builds it" in explanation.reason


@pytest.mark.parametrize("changes", [{"sha": "HEAD"}, {"ref": None}, {"ref": "x" * 9999}, {"repository": None}])
def test_a_tag_with_a_field_of_another_kind_is_malformed(changes: dict[str, Any]) -> None:
    with pytest.raises(HookMalformed):
        Gogs().parse(deliveries.fixture("gogs/create_tag", **changes))


@pytest.mark.parametrize("forge", ["gitea", "forgejo"])
def test_a_delivery_of_gitea_or_forgejo_is_sent_to_its_own_door(forge: str) -> None:
    request = deliveries.fixture("gogs/create_tag")
    with pytest.raises(HookMalformed) as caught:
        Gogs().parse(Request({**request.headers, f"x-{forge}-event": "create"}, request.body))
    assert f"/hooks/{forge}" in caught.value.hint
