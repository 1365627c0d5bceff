"""Git URLs and refs: what is data and what is an attack."""

from __future__ import annotations

import pytest

from lumper.errors import SourceRefused
from lumper.model.source import is_commit, is_safe_ref, parse_git_url


@pytest.mark.parametrize(
    ("text", "url", "path"),
    [
        ("https://git.example.org/owner/app.git", "https://git.example.org/owner/app.git", "owner/app"),
        ("https://git.example.org/group/sub/app", "https://git.example.org/group/sub/app", "group/sub/app"),
        ("http://127.0.0.1:3000/o/a.git", "http://127.0.0.1:3000/o/a.git", "o/a"),
        ("ssh://git@example.org:2222/o/a.git", "ssh://git@example.org:2222/o/a.git", "o/a"),
        ("git@example.org:o/a.git", "git@example.org:o/a.git", "o/a"),
        ("/srv/git/app.git", "/srv/git/app.git", "srv/git/app"),
        ("https://[::1]:3000/o/a", "https://[::1]:3000/o/a", "o/a"),
    ],
)
def test_urls_that_git_may_fetch_from(text: str, url: str, path: str) -> None:
    source = parse_git_url(text)
    assert (source.url, source.path) == (url, path)


def test_credentials_are_taken_out_of_the_url_and_not_shown() -> None:
    source = parse_git_url("https://me:s3cret@git.example.org/o/a.git")
    assert source.url == "https://git.example.org/o/a.git"
    assert (source.username, source.password) == ("me", "s3cret")
    assert "s3cret" not in repr(source)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-oProxyCommand=id",
        "--upload-pack=touch /tmp/p",
        "ext::sh -c id",
        "file:///etc",
        "git://example.org/o/a",
        "ftp://example.org/o/a",
        "ssh://-oProxyCommand=id/o/a",
        "ssh://-x@example.org/o/a",
        "https://example.org",
        "https://example.org/",
        "https://example.org/o/../../etc",
        "https://example.org/o/a b\n",
        "https://example.org/o/a?x=1",
        "https://example.org:99999/o/a",
        "https://exa mple.org/o/a",
        "relative/path",
        "-user@example.org:o/a",
        "git@-host:o/a",
        "/srv/git/../../etc/passwd",
        "/srv/\x00/x",
        "http://169.254.169.254/o/a",
        "http://[::ffff:169.254.169.254]/o/a",
        "http://[fd00:ec2::254]/o/a",
        "http://0177.0.0.1/o/a",
        "http://2130706433/o/a",
        "http://127.0.0.1:2375/o/a",
        "http://localhost:2376/o/a",
        "http://10.0.0.1:2375/o/a",
        "git@169.254.169.254:o/a",
    ],
)
def test_everything_else_is_refused(text: str) -> None:
    with pytest.raises(SourceRefused):
        parse_git_url(text)


def test_special_characters_of_a_password_are_encoded_in_the_url_only() -> None:
    source = parse_git_url("https://me%40work:s%2F3c%25ret@git.example.org/a/b.git")
    assert (source.username, source.password) == ("me@work", "s/3c%ret")


def test_a_refused_url_is_shown_without_its_password() -> None:
    with pytest.raises(SourceRefused) as refused:
        parse_git_url("ftp://me:s3cret@example.org/o/a")
    assert "s3cret" not in refused.value.sentence


@pytest.mark.parametrize("ref", ["refs/tags/v1", "refs/heads/feature/x", "refs/tags/ä", "refs/tags/v1;touch"])
def test_refs_that_git_accepts_are_data(ref: str) -> None:
    assert is_safe_ref(ref)


@pytest.mark.parametrize(
    "ref",
    ["refs/tags/", "refs/tags/-x", "refs/tags/a..b", "refs/tags/a b", "refs/tags/a\n", "refs/tags/\x00", "v1",
     "refs/tags/a.lock", "refs/tags/.a", "refs/tags/a@{1}", "refs/tags/" + "x" * 300, "refs/tags/\ud800",
     "refs/tags/a//b"],
)  # fmt: skip
def test_refs_that_git_refuses_are_refused(ref: str) -> None:
    assert not is_safe_ref(ref)


def test_only_whole_object_ids_are_commits() -> None:
    assert is_commit("a" * 40)
    assert is_commit("0a" * 32)
    assert not any(map(is_commit, ["0" * 40, "A" * 40, "a" * 39, "a" * 40 + "\n", "-" * 40]))
