"""The requests that Lumper makes of forges, as their manuals have them."""

from __future__ import annotations

import pytest

from lumper.errors import NotFound
from lumper.hooks.api.port import Place, Status, StatusState, webhook_id
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
def test_a_webhook_is_removed_by_its_id(forge: str) -> None:
    api = open_forge_api(forge, Place("https://forge.example", "owner/app", "t0ken"))
    identity = webhook_id({"uuid": "{7f1c-0000}"} if forge == "bitbucket-cloud" else {"id": 7})
    request = api.remove_webhook(identity)
    end = "%7B7f1c-0000%7D" if forge == "bitbucket-cloud" else "7"
    assert (request.method, request.url) == ("DELETE", f"{URLS[forge][0]}/{end}")
    assert api.statuses is bool(URLS[forge][1])


def test_an_id_that_would_lead_elsewhere_does_not() -> None:
    api = open_forge_api("gitea", Place("https://forge.example", "owner/app", "t0ken"))
    assert api.remove_webhook(webhook_id({"id": "../../x?y"})).url.endswith("/hooks/..%2F..%2Fx%3Fy")
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


def test_long_descriptions_are_cut_to_what_a_forge_takes() -> None:
    for forge, most in (("github", 140), ("gitlab", 255), ("bitbucket-cloud", 255)):
        long = Status(StatusState.FAILURE, "c", "x" * 999, "p")
        request = open_forge_api(forge, Place("https://f", "o/a", "t")).set_status(COMMIT, "refs/heads/main", long)
        assert request is not None
        assert request.body is not None
        assert len(request.body["description"]) == most


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
