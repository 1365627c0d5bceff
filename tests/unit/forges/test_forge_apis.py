"""The requests that Lumper makes of forges, as their manuals have them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lumper.errors import NotFound
from lumper.forges.all import open_forges
from lumper.forges.port import Forge, Repository
from lumper.forges.registration import WebhookState, webhook_id, webhook_state
from lumper.forges.statuses import Status, StatusState
from lumper.model.source import forge_url_of
from parts.git import deliveries

HOOK, SECRET, COMMIT = "https://lumper.example.org/hooks/x", "s3cret", "a" * 40
STATUS = Status(StatusState.SUCCESS, "lumper/owner/app", "1.2.3 sha256:abc", "https://lumper.example.org/builds/7")
AT = Repository("https://forge.example", "owner/app", "t0ken")

each = pytest.mark.parametrize("forge", list(open_forges()), ids=lambda forge: forge.name)


@each
def test_a_webhook_is_made_with_the_secret_for_tags(forge: Forge) -> None:
    known = deliveries.facts(forge.name)["webhook"]
    request = forge.make_webhook(AT, HOOK, SECRET)
    assert (request.method, request.url) == ("POST", known["url"])
    assert HOOK in str(request.body)
    assert SECRET in str(request.body)
    assert "t0ken" in str(dict(request.headers))
    assert "t0ken" not in repr((request, AT))
    assert SECRET not in repr(request)
    assert request.body is not None
    assert set(request.body) <= set(known["takes"])
    assert all(isinstance(text, str) for text in request.body.get("config", {}).values())  # of Gitea: only texts


@each
def test_a_webhook_is_removed_and_asked_for_by_its_id(forge: Forge) -> None:
    known = deliveries.facts(forge.name)["webhook"]
    request = forge.webhook(AT, "DELETE", webhook_id(known["id"]))
    assert request is not None
    assert (request.method, request.url) == ("DELETE", f"{known['url']}/{known['end']}")
    asked = forge.webhook(AT, "GET", webhook_id(known["id"]))
    assert (asked.url if asked else "") == (request.url if known.get("shown", True) else "")


@each
def test_a_webhook_that_the_forge_tells_of_is_there_off_or_elsewhere(forge: Forge) -> None:
    known = deliveries.facts(forge.name)["webhook"]
    assert bool(known["told"]) == known.get("shown", True)
    for told in known["told"]:
        assert webhook_state(told, HOOK) is WebhookState.THERE
        assert webhook_state(told, "https://lumper.example.org/hooks/y") is WebhookState.ELSEWHERE
        assert webhook_state({**told, **known["off"]}, HOOK) is WebhookState.OFF
    assert webhook_state({}, HOOK) is WebhookState.ELSEWHERE


def test_an_id_that_would_lead_elsewhere_does_not() -> None:
    removal = open_forges().get("gitea").webhook(AT, "DELETE", webhook_id({"id": "../../x?y"}))
    assert removal is not None
    assert removal.url.endswith("/hooks/..%2F..%2Fx%3Fy")
    assert webhook_id({"id": ["7"]}) == webhook_id({}) == ""


@each
def test_every_state_of_a_build_has_a_word_at_the_forge(forge: Forge) -> None:
    known = deliveries.facts(forge.name)["status"]
    assert forge.statuses is bool(known)
    words = set()
    for state in StatusState:
        request = forge.set_status(AT, COMMIT, "refs/tags/v1", replace(STATUS, state=state))
        if not known:
            assert request is None
            continue
        assert request is not None
        assert request.url == known["url"].format(COMMIT)
        assert request.body is not None
        assert STATUS.page in request.body.values()
        words.add(request.body["state"])
    assert len(words) != 1


def test_github_com_has_its_api_elsewhere() -> None:
    request = open_forges().get("github").make_webhook(Repository("https://github.com", "o/a", "t"), HOOK, SECRET)
    assert request.url == "https://api.github.com/repos/o/a/hooks"


# As published: docs.github.com, "Create a commit status" and "Create a repository webhook"; docs.gitlab.com, "Commits
# API" and "Project webhooks API"; the OpenAPI descriptions of Gitea and Forgejo, CreateHookOption, CreateStatusOption;
# developer.atlassian.com, "Commit statuses" and "Webhooks" of Bitbucket Cloud, "Updating build status" of Data Center.
@each
def test_a_status_has_only_what_the_forge_takes_and_no_more_of_it(forge: Forge) -> None:
    known = deliveries.facts(forge.name)["status"]
    for state in StatusState if known else ():
        long = Status(state, "lumper/" + "c" * 400 + ":v1", "x" * 999, STATUS.page)
        request = forge.set_status(AT, COMMIT, "refs/heads/main", long)
        assert request is not None
        assert request.body is not None
        assert set(request.body) <= set(known["takes"])
        assert request.body["state"] in known["words"]
        for field, text in request.body.items():
            assert 0 < len(text) <= known.get("longest", {}).get(field, 255), field
        assert request.body["description"].endswith("x…")


@each
def test_contexts_that_are_too_long_and_alike_at_their_beginning_stay_apart(forge: Forge) -> None:
    told = set()
    for tag in ("v1", "v2"):
        status = Status(StatusState.SUCCESS, "lumper/" + "c" * 400 + f":{tag}", "", "p")
        request = forge.set_status(AT, COMMIT, f"refs/tags/{tag}", status)
        body = (request.body if request else None) or {}
        told.add(body.get("context", body.get("name")))
    assert len(told) == (2 if forge.statuses else 1)


def test_a_forge_that_is_not_known_is_told() -> None:
    with pytest.raises(NotFound, match="svnhub"):
        open_forges().get("svnhub")


@pytest.mark.parametrize(
    ("url", "forge"),
    [
        ("https://github.com/o/a.git", "github"),
        ("git@gitlab.com:o/a.git", "gitlab"),
        ("ssh://git@codeberg.org/o/a.git", "forgejo"),
        ("https://Gitea.example.org/o/a", "gitea"),
        ("https://bitbucket.org/o/a.git", "bitbucket-cloud"),
        ("https://bitbucket.example.org/o/a.git", "bitbucket-server"),
        ("https://git.example.org/scm/o/a.git", "bitbucket-server"),
        ("https://git.example.org/github/a.git", ""),
        ("/srv/git/app.git", ""),
    ],
)
def test_the_likely_forge_is_known_by_the_host_or_the_path(url: str, forge: str) -> None:
    assert open_forges().likely(url) == forge


@pytest.mark.parametrize(
    ("url", "forge"),
    [
        ("https://git.example.org/owner/app.git", "https://git.example.org"),
        ("http://localhost:3000/owner/app", "http://localhost:3000"),
        ("ssh://git@git.example.org:7999/owner/app.git", "https://git.example.org"),
        ("git@git.example.org:owner/app.git", "https://git.example.org"),
        ("/srv/git/app.git", ""),
    ],
)
def test_the_forge_is_where_the_repository_is(url: str, forge: str) -> None:
    assert forge_url_of(url) == forge
