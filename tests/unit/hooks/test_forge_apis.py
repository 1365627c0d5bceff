"""The requests that Lumper makes of forges, as their manuals have them."""

from __future__ import annotations

import pytest

from lumper.errors import NotFound
from lumper.hooks.api.port import Place, Status, StatusState, WebhookState, webhook_id, webhook_state
from lumper.hooks.forges.github import GitHub
from lumper.model.source import forge_url_of
from lumper.wiring.adapters import open_forge_api, open_forges

HOOK, SECRET, COMMIT = "https://lumper.example.org/hooks/x", "s3cret", "a" * 40
STATUS = Status(StatusState.SUCCESS, "lumper/owner/app", "1.2.3 sha256:abc", "https://lumper.example.org/builds/7")

URLS = {
    "github": (
        "https://forge.example/api/v3/repos/owner/app/hooks",
        "https://forge.example/api/v3/repos/owner/app/statuses/{}",
    ),
    "gitlab": (
        "https://forge.example/api/v4/projects/owner%2Fapp/hooks",
        "https://forge.example/api/v4/projects/owner%2Fapp/statuses/{}",
    ),
    "gitea": (
        "https://forge.example/api/v1/repos/owner/app/hooks",
        "https://forge.example/api/v1/repos/owner/app/statuses/{}",
    ),
    "forgejo": (
        "https://forge.example/api/v1/repos/owner/app/hooks",
        "https://forge.example/api/v1/repos/owner/app/statuses/{}",
    ),
    "gogs": ("https://forge.example/api/v1/repos/owner/app/hooks", ""),
    "bitbucket-cloud": (
        "https://api.bitbucket.org/2.0/repositories/owner/app/hooks",
        "https://api.bitbucket.org/2.0/repositories/owner/app/commit/{}/statuses/build",
    ),
    "bitbucket-server": (
        "https://forge.example/rest/api/1.0/projects/owner/repos/app/webhooks",
        "https://forge.example/rest/build-status/1.0/commits/{}",
    ),
}


@pytest.mark.parametrize("forge", [forge.name for forge in open_forges()])
def test_a_webhook_is_made_with_the_secret_for_tags(forge: str) -> None:
    request = open_forge_api(forge, Place("https://forge.example", "owner/app", "t0ken")).make_webhook(HOOK, SECRET)
    assert (request.method, request.url) == ("POST", URLS[forge][0])
    assert HOOK in str(request.body)
    assert SECRET in str(request.body)
    assert "t0ken" in str(dict(request.headers))
    assert "t0ken" not in repr(request)
    assert SECRET not in repr(request)


@pytest.mark.parametrize("forge", [forge.name for forge in open_forges()])
def test_a_webhook_is_removed_and_asked_for_by_its_id(forge: str) -> None:
    api = open_forge_api(forge, Place("https://forge.example", "owner/app", "t0ken"))
    identity = webhook_id({"uuid": "{7f1c-0000}"} if forge == "bitbucket-cloud" else {"id": 7})
    end = "%7B7f1c-0000%7D" if forge == "bitbucket-cloud" else "7"
    request = api.webhook("DELETE", identity)
    assert request is not None
    assert (request.method, request.url) == ("DELETE", f"{URLS[forge][0]}/{end}")
    assert api.statuses is bool(URLS[forge][1])
    asked = api.webhook("GET", identity)
    assert (asked.url if asked else "") == ("" if forge == "gogs" else request.url)


# What the forges answer, as their manuals show it, shortened.
TOLD = {
    "github": {"id": 7, "active": True, "url": "https://api.github.com/repos/o/a/hooks/7", "config": {"url": HOOK}},
    "gitea": {"id": 7, "active": True, "config": {"url": HOOK, "content_type": "json"}},
    "gitlab": {"id": 7, "url": HOOK, "alert_status": "executable", "disabled_until": None},
    "an older gitlab": {"id": 7, "url": HOOK},
    "bitbucket-cloud": {"uuid": "{7f1c-0000}", "url": HOOK, "active": True},
    "bitbucket-server": {"id": 7, "url": HOOK, "active": True, "configuration": {"createdBy": "bitbucket"}},
}


@pytest.mark.parametrize("forge", TOLD)
def test_a_webhook_that_the_forge_tells_of_is_there_off_or_elsewhere(forge: str) -> None:
    told = TOLD[forge]
    assert webhook_state(told, HOOK) is WebhookState.THERE
    assert webhook_state(told, "https://lumper.example.org/hooks/y") is WebhookState.ELSEWHERE
    off = {"alert_status": "disabled"} if "gitlab" in forge else {"active": False}
    assert webhook_state({**told, **off}, HOOK) is WebhookState.OFF
    assert webhook_state({}, HOOK) is WebhookState.ELSEWHERE


def test_an_id_that_would_lead_elsewhere_does_not() -> None:
    api = open_forge_api("gitea", Place("https://forge.example", "owner/app", "t0ken"))
    removal = api.webhook("DELETE", webhook_id({"id": "../../x?y"}))
    assert removal is not None
    assert removal.url.endswith("/hooks/..%2F..%2Fx%3Fy")
    assert webhook_id({"id": ["7"]}) == webhook_id({}) == ""


@pytest.mark.parametrize("forge", [forge.name for forge in open_forges()])
def test_every_state_of_a_build_has_a_word_at_the_forge(forge: str) -> None:
    api = open_forge_api(forge, Place("https://forge.example", "owner/app", "t0ken"))
    words = set()
    for state in StatusState:
        request = api.set_status(COMMIT, "refs/tags/v1", Status(state, STATUS.context, STATUS.description, STATUS.page))
        if not URLS[forge][1]:
            assert request is None
            continue
        assert request is not None
        assert request.url == URLS[forge][1].format(COMMIT)
        assert request.body is not None
        assert STATUS.page in request.body.values()
        words.add(request.body["state"])
    assert len(words) != 1


def test_github_com_has_its_api_elsewhere() -> None:
    request = open_forge_api("github", Place("https://github.com", "o/a", "t")).make_webhook(HOOK, SECRET)
    assert request.url == "https://api.github.com/repos/o/a/hooks"


# As published: docs.github.com, "Create a commit status" and "Create a repository webhook"; docs.gitlab.com, "Commits
# API" and "Project webhooks API"; the OpenAPI descriptions of Gitea and Forgejo, CreateHookOption, CreateStatusOption;
# developer.atlassian.com, "Commit statuses" and "Webhooks" of Bitbucket Cloud, "Updating build status" of Data Center.
TAKEN = {
    "github": {"state", "target_url", "description", "context"},
    "gitlab": {"state", "ref", "name", "context", "target_url", "description", "coverage", "pipeline_id"},
    "gitea": {"state", "target_url", "description", "context"},
    "bitbucket-cloud": {"key", "state", "url", "name", "description", "refname"},
    "bitbucket-server": {"key", "state", "url", "name", "description"},
}
WORDS = {
    "github": {"error", "failure", "pending", "success"},
    "gitlab": {"pending", "running", "success", "failed", "canceled", "skipped"},
    "gitea": {"pending", "success", "error", "failure", "warning"},
    "bitbucket-cloud": {"SUCCESSFUL", "FAILED", "INPROGRESS", "STOPPED"},
    "bitbucket-server": {"SUCCESSFUL", "FAILED", "INPROGRESS"},
}
LENGTHS = {"description": {"github": 140}, "key": {"bitbucket-cloud": 40, "bitbucket-server": 40}}


@pytest.mark.parametrize("forge", TAKEN)
def test_a_status_has_only_what_the_forge_takes_and_no_more_of_it(forge: str) -> None:
    api = open_forge_api(forge, Place("https://f", "o/a", "t"))
    for state in StatusState:
        long = Status(state, "lumper/" + "c" * 400 + ":v1", "x" * 999, "https://lumper.example.org/builds/7")
        request = api.set_status(COMMIT, "refs/heads/main", long)
        assert request is not None
        assert request.body is not None
        assert set(request.body) <= TAKEN[forge]
        assert request.body["state"] in WORDS[forge]
        for field, text in request.body.items():
            assert 0 < len(text) <= LENGTHS.get(field, {}).get(forge, 255), field
        assert request.body["description"].endswith("x…")


@pytest.mark.parametrize("forge", TAKEN)
def test_contexts_that_are_too_long_and_alike_at_their_beginning_stay_apart(forge: str) -> None:
    api = open_forge_api(forge, Place("https://f", "o/a", "t"))
    told = set()
    for tag in ("v1", "v2"):
        status = Status(StatusState.SUCCESS, "lumper/" + "c" * 400 + f":{tag}", "", "p")
        request = api.set_status(COMMIT, f"refs/tags/{tag}", status)
        assert request is not None
        assert request.body is not None
        told.add(request.body.get("context", request.body.get("name")))
    assert len(told) == 2


WEBHOOKS = {
    "github": {"name", "config", "events", "active"},
    "gitea": {"type", "config", "events", "branch_filter", "active", "authorization_header"},
    "forgejo": {"type", "config", "events", "branch_filter", "active", "authorization_header"},
    "gogs": {"type", "config", "events", "active"},
    "gitlab": {"url", "name", "description", "push_events", "tag_push_events", "enable_ssl_verification", "token"},
    "bitbucket-cloud": {"description", "url", "active", "secret", "events"},
    "bitbucket-server": {"name", "url", "active", "events", "configuration"},
}


@pytest.mark.parametrize("forge", WEBHOOKS)
def test_a_webhook_has_only_what_the_forge_takes(forge: str) -> None:
    request = open_forge_api(forge, Place("https://f", "o/a", "t")).make_webhook(HOOK, SECRET)
    assert request.body is not None
    assert set(request.body) <= WEBHOOKS[forge]
    assert all(isinstance(text, str) for text in request.body.get("config", {}).values())  # of Gitea: only texts


def test_a_forge_without_an_api_is_told() -> None:
    with pytest.raises(NotFound, match="svnhub"):
        open_forge_api("svnhub", Place("https://f", "o/a", "t"))
    assert GitHub.name in URLS


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
