from __future__ import annotations

from dataclasses import replace

import pytest

from lumper.forges.adapters.gitea import Gitea
from lumper.forges.adapters.github import GitHub
from lumper.forges.port import Parsed
from lumper.forges.rules import candidates, decide, explain, explain_delivery
from lumper.model.source import Push, Verdict
from parts.git import deliveries
from parts.git.projects import project_at

COMMIT = "5f0c6a9d3b7e4182a6c0d9e8f7b6a5c4d3e2f101"
NULL = "0" * 40


def _parsed(repository: str, *pushes: Push, urls: tuple[str, ...] = ()) -> Parsed:
    return Parsed("push", "1", repository, urls, pushes)


def _push(ref: str, commit: str = COMMIT, *, deleted: bool = False) -> Push:
    return Push("demo/hello", ref, commit, deleted=deleted)


@pytest.mark.parametrize("name", ["github/push_lightweight_tag", "github/push_annotated_tag", "gitea/push_tag"])
def test_a_pushed_tag_builds_its_commit(name: str) -> None:
    forge = GitHub() if name.startswith("github/") else Gitea()
    assert explain_delivery(forge, deliveries.fixture(name)).as_dict() == {
        "verdict": "build",
        "reason": "The tag v1.2.3 was pushed, for the image tags 1.2.3, 1.2, 1, latest.",
        "pushes": [{"repository": "Demo/hello", "ref": "refs/tags/v1.2.3", "commit": COMMIT}],
    }


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("github/push_branch", "main"),
        ("github/push_deleted_tag", "deleted"),
        ("github/create_tag", "push"),
        ("github/delete_tag", "deleted"),
        ("github/release", "push of its tag"),
        ("github/ping", "listens"),
        ("github/installation", "installation"),
        ("gitea/push_branch", "main"),
        ("gitea/push_deleted_tag", "deleted"),
        ("gitea/create_tag", "v1.2.3"),
        ("gitea/delete_tag", "deleted"),
        ("gitea/release", "push of its tag"),
    ],
)
def test_anything_else_is_ignored_with_the_reason(name: str, word: str) -> None:
    forge = GitHub() if name.startswith("github/") else Gitea()
    explanation = explain_delivery(forge, deliveries.fixture(name))
    assert explanation.as_dict() | {"reason": ""} == {"verdict": "ignored", "reason": "", "pushes": []}
    assert word in explanation.reason


def test_a_request_without_an_event_is_ignored_and_says_which_header_is_missing() -> None:
    request = deliveries.fixture("github/push_lightweight_tag")
    del request.headers["x-github-event"]  # type: ignore[attr-defined]
    explanation = explain_delivery(GitHub(), request)
    assert explanation.verdict is Verdict.IGNORED
    assert "X-GitHub-Event" in explanation.reason


def test_a_malformed_delivery_is_refused_with_the_reason() -> None:
    explanation = explain_delivery(GitHub(), deliveries.made("github", "push", b"[]"))
    assert explanation.as_dict() == {
        "verdict": "refused",
        "reason": "The payload is not a JSON object.",
        "pushes": [],
    }


@pytest.mark.parametrize(
    "tag",
    [
        "v1;touch /tmp/p",
        "--upload-pack=x",
        "-oProxyCommand=x",
        "a..b",
        "v1\n",
        "v1\x00",
        "x" * 300,
        "v1 ",
        "a~1",
        "a^{}",
        "a@{1}",
        "x.lock",
        "/v1",
        "v1/",
        "a//b",
        "",
        "v1\x1b[2J",
    ],
    ids=lambda tag: repr(tag[:20]),
)
def test_a_ref_that_git_would_not_take_is_refused(tag: str) -> None:
    explanation = explain(_parsed("demo/hello", _push(f"refs/tags/{tag}")))
    assert (explanation.verdict, explanation.pushes) == (Verdict.REFUSED, ())
    assert explanation.reason.isprintable()
    assert len(explanation.reason) < 200


@pytest.mark.parametrize("ref", ["--upload-pack=x", "HEAD", "v1", "refs"])
def test_a_ref_that_is_not_whole_is_refused(ref: str) -> None:
    assert explain(_parsed("demo/hello", _push(ref))).verdict is Verdict.REFUSED


@pytest.mark.parametrize(("tag", "image_tag"), [("feature/x", "feature-x"), ("$(id)", "id-"), ("v1`x`", "v1-x-")])
def test_a_tag_that_git_takes_builds_under_a_legal_image_tag(tag: str, image_tag: str) -> None:
    explanation = explain(_parsed("demo/hello", _push(f"refs/tags/{tag}")))
    assert explanation.verdict is Verdict.BUILD
    assert explanation.reason.endswith(f" {image_tag}.")


@pytest.mark.parametrize("tag", ["\U0001f680", "é", "v1.2.3-" + "x" * 130])
def test_a_tag_that_gives_no_legal_image_tag_is_ignored_and_says_so(tag: str) -> None:
    explanation = explain(_parsed("demo/hello", _push(f"refs/tags/{tag}")))
    assert explanation.verdict is Verdict.IGNORED
    assert "no legal image tag" in explanation.reason


def test_refs_of_other_kinds_are_ignored() -> None:
    assert explain(_parsed("demo/hello", _push("refs/pull/7/head"))).verdict is Verdict.IGNORED


@pytest.mark.parametrize("push", [_push("refs/tags/v1", NULL), _push("refs/tags/v1", deleted=True)], ids=["0", "flag"])
def test_a_deletion_never_builds(push: Push) -> None:
    assert explain(_parsed("demo/hello", push)).verdict is Verdict.IGNORED


def test_of_several_pushes_those_that_are_tags_build_and_each_once() -> None:
    tag, other = _push("refs/tags/v1"), _push("refs/tags/v2")
    parsed = _parsed("demo/hello", _push("refs/heads/main"), tag, tag, _push("refs/tags/a..b"), other)
    decision = decide(parsed, project_at("https://github.com/demo/hello"))
    assert decision.verdict is Verdict.BUILD
    assert decision.builds == (tag, other)
    assert [judgement.verdict.value for judgement in decision.judgements] == ["ignored", "build", "refused", "build"]


def test_a_delivery_signed_by_one_project_that_names_another_repository_is_refused() -> None:
    decision = decide(_parsed("demo/hello", _push("refs/tags/v1")), project_at("https://github.com/demo/other"))
    assert (decision.verdict, decision.builds) == (Verdict.REFUSED, ())


def test_a_push_of_another_repository_than_the_delivery_s_is_refused() -> None:
    decision = decide(_parsed("demo/other", _push("refs/tags/v1")), project_at("https://github.com/demo/other"))
    assert (decision.verdict, decision.builds) == (Verdict.REFUSED, ())


class TestCandidates:
    @pytest.mark.parametrize(
        ("url", "repository", "fits"),
        [
            ("https://github.com/alice/app", "alice/app", True),
            ("https://github.com/alice/app.git", "Alice/APP", True),
            ("git@github.com:alice/app.git", "alice/app", True),
            ("ssh://git@example.org:2222/alice/app", "alice/app", True),
            ("https://github.com/bob/app", "alice/app", False),
            ("https://github.com/alice/app", "app", False),
            ("https://github.com/alice/app", "alice/app2", False),
            ("https://github.com/malice/app", "alice/app", False),
            ("https://github.com/group/alice/app", "alice/app", False),
            ("/srv/git/alice/app.git", "alice/app", True),
            ("/srv/git/alice/app.git", "Alice/App", True),
            ("/srv/git/alice/app.git", "bob/app", True),
            ("/srv/git/alice/app.git", "alice/app2", False),
            ("/srv/git/app.git", "git/app", True),
        ],
    )
    def test_names_count_as_a_whole_and_only_a_local_path_may_be_longer(
        self, url: str, repository: str, fits: bool
    ) -> None:
        project = project_at(url)
        assert candidates(_parsed(repository), [project]) == ([project] if fits else [])

    def test_a_delivery_that_names_no_repository_may_be_of_any_and_builds_nothing(self) -> None:
        projects = [project_at("https://github.com/alice/app"), project_at("/srv/git/bob/app.git")]
        assert candidates(_parsed(""), projects) == projects
        assert decide(replace(_parsed(""), pushes=()), projects[0]).verdict is Verdict.IGNORED

    def test_a_local_path_stands_back_behind_a_project_that_has_the_name(self) -> None:
        local, named = project_at("/srv/git/alice/app.git"), project_at("https://github.com/bob/app")
        assert candidates(_parsed("bob/app"), [local, named]) == [named]

    def test_a_local_repository_that_was_given_its_name_has_no_other(self) -> None:
        project = replace(project_at("/srv/git/alice/app.git"), repository="carol/app")
        assert candidates(_parsed("carol/app"), [project]) == [project]
        assert candidates(_parsed("bob/app"), [project]) == []

    def test_a_forge_below_a_path_of_its_host_is_known_by_the_delivery_s_url(self) -> None:
        project = project_at("https://example.org/git/alice/app")
        url = ("https://example.org/git/Alice/app.git",)
        assert candidates(_parsed("Alice/app", urls=url), [project]) == [project]
        assert candidates(_parsed("bob/app", urls=url), [project]) == []
        assert candidates(_parsed("Alice/app", urls=("https://other.org/git/Alice/app",)), [project]) == []

    def test_the_project_that_the_url_names_comes_before_its_namesake_elsewhere(self) -> None:
        here, there = project_at("https://a.example/demo/hello"), project_at("https://b.example/demo/hello")
        parsed = _parsed("demo/hello", urls=("ext::sh -c id", "https://b.example/demo/hello.git"))
        assert candidates(parsed, [here, there]) == [there, here]
