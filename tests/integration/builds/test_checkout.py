"""Which commit is checked out, and from where."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lumper.build.source.checkout import CheckoutRequest, Limits, Mirrors
from lumper.errors import (
    CommitMismatch,
    GitUnauthorized,
    GitUnreachable,
    RefNotFound,
    RepositoryNotFound,
    SourceError,
    SourceRefused,
)
from lumper.model.source import Person
from parts.git.git_repository import Repository
from parts.git.git_server import GitServer, git_server


@pytest.fixture
def origin(tmp_path: Path) -> Repository:
    """A repository with one commit."""
    repository = Repository(tmp_path / "served/owner/app.git")
    repository.commit({"Dockerfile": "FROM scratch\n"})
    return repository


@pytest.fixture
def server(tmp_path: Path) -> Iterator[GitServer]:
    """A server of all that lies under `served`."""
    with git_server(tmp_path / "served") as server:
        yield server


@pytest.fixture
def mirrors(tmp_path: Path) -> Mirrors:
    """An empty folder of mirrors."""
    return Mirrors(tmp_path / "mirrors", limits=Limits(timeout=60))


def request(server: GitServer, ref: str = "v1", commit: str = "", **more: object) -> CheckoutRequest:
    """A request for a tag of owner/app."""
    fields = {"project_id": "p1", "url": server.url("owner/app.git"), "local": False} | more
    return CheckoutRequest(ref=f"refs/tags/{ref}", commit=commit, **fields)  # type: ignore[arg-type]


async def test_the_commit_of_a_lightweight_tag_is_checked_out(
    origin: Repository, server: GitServer, mirrors: Mirrors
) -> None:
    told = origin.tag("v1", commit := origin.commit({"a": "1"}, message="Add a\n\nAnd why."))
    async with mirrors.checkout(request(server, commit=told)) as checkout:
        assert checkout.commit == commit
        assert checkout.author == Person("Ada Lovelace", "ada@example.org")
        assert checkout.committed_at == datetime.fromtimestamp(1700000100, UTC)
        assert checkout.subject == "Add a"
        assert await checkout.read("a", 10) == b"1"


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("told", ["tag object", "commit", "nothing"])
async def test_an_annotated_tag_fits_both_ways_in_which_forges_tell_of_it(
    told: str, old: bool, origin: Repository, server: GitServer, mirrors: Mirrors
) -> None:
    server.old = old  # such a server does not give out the commit by its id
    commit = origin.commit({"a": "1"})
    tag = origin.tag("v1", commit, annotated=True)
    async with mirrors.checkout(
        request(server, commit={"tag object": tag, "commit": commit, "nothing": ""}[told])
    ) as checkout:
        assert checkout.commit == commit


async def test_a_second_checkout_of_the_same_commit_needs_no_network(
    origin: Repository, server: GitServer, mirrors: Mirrors
) -> None:
    told = origin.tag("v1", origin.commit({"a": "1"}), annotated=True)
    async with mirrors.checkout(request(server, commit=told)):
        pass
    seen = len(server.requests)
    async with mirrors.checkout(request(server, commit=told)) as checkout:
        assert await checkout.read("a", 10) == b"1"
    assert len(server.requests) == seen


async def test_the_folder_of_the_mirrors_may_be_removed_between_two_builds(
    origin: Repository, server: GitServer, mirrors: Mirrors, tmp_path: Path
) -> None:
    told = origin.tag("v1", origin.commit({"a": "1"}))
    async with mirrors.checkout(request(server, commit=told)):
        pass
    shutil.rmtree(tmp_path / "mirrors")
    async with mirrors.checkout(request(server, commit=told)) as checkout:
        assert await checkout.read("a", 10) == b"1"


async def test_without_a_told_commit_the_ref_is_asked_for_every_time(
    origin: Repository, server: GitServer, mirrors: Mirrors
) -> None:
    origin.tag("v1", origin.commit({"a": "1"}))
    async with mirrors.checkout(request(server)) as checkout:
        first = checkout.commit
    origin.tag("v1", second := origin.commit({"a": "2"}, parent=first))
    async with mirrors.checkout(request(server)) as checkout:
        assert checkout.commit == second


async def test_the_history_is_left_behind(
    origin: Repository, server: GitServer, mirrors: Mirrors, tmp_path: Path
) -> None:
    parent = origin.commit({"a": "1"})
    told = origin.tag("v1", origin.commit({"a": "2"}, parent=parent))
    async with mirrors.checkout(request(server, commit=told)):
        assert (tmp_path / "mirrors/p1.git/shallow").read_text().strip() == told


async def test_a_server_of_plain_files_is_good_enough(origin: Repository, server: GitServer, mirrors: Mirrors) -> None:
    server.dumb = True
    told = origin.tag("v1", origin.commit({"a": "1"}, parent=origin.commit({"a": "0"})))
    async with mirrors.checkout(request(server, commit=told)) as checkout:
        assert await checkout.read("a", 10) == b"1"


async def test_a_moved_tag_still_builds_the_commit_that_was_told(
    origin: Repository, server: GitServer, mirrors: Mirrors
) -> None:
    told = origin.tag("v1", origin.commit({"a": "old"}))
    origin.tag("v1", origin.commit({"a": "new"}))
    async with mirrors.checkout(request(server, commit=told)) as checkout:
        assert checkout.commit == told
        assert await checkout.read("a", 10) == b"old"


async def test_a_moved_tag_whose_old_commit_is_gone_is_a_mismatch(
    origin: Repository, server: GitServer, mirrors: Mirrors
) -> None:
    origin.tag("v1", origin.commit({"a": "new"}))
    with pytest.raises(CommitMismatch, match="v1 does not point at 1111"):
        async with mirrors.checkout(request(server, commit="1" * 40)):
            pass


async def test_a_deleted_tag_still_builds_the_commit_that_was_told(
    origin: Repository, server: GitServer, mirrors: Mirrors
) -> None:
    told = origin.tag("v1", origin.commit({"a": "1"}))
    origin.git("tag", "-d", "v1")
    async with mirrors.checkout(request(server, commit=told)) as checkout:
        assert checkout.commit == told


@pytest.mark.parametrize("commit", ["", "1" * 40])
@pytest.mark.parametrize("dumb", [False, True])
async def test_a_tag_that_is_not_there_is_named(
    commit: str, dumb: bool, origin: Repository, server: GitServer, mirrors: Mirrors
) -> None:
    server.dumb = dumb
    origin.git("update-server-info")
    with pytest.raises(RefNotFound, match="has no v1"):
        async with mirrors.checkout(request(server, commit=commit)):
            pass


async def test_a_tag_of_a_file_is_not_a_commit(origin: Repository, server: GitServer, mirrors: Mirrors) -> None:
    origin.tag("v1", origin.blob("text"), annotated=True)
    with pytest.raises(SourceError, match="does not point at a commit"):
        async with mirrors.checkout(request(server)):
            pass


async def test_tags_that_would_be_file_and_folder_to_each_other_follow_one_another(
    origin: Repository, server: GitServer, mirrors: Mirrors
) -> None:
    origin.tag("v1", origin.commit({"a": "1"}))
    async with mirrors.checkout(request(server)):
        pass
    origin.git("tag", "-d", "v1")
    told = origin.tag("v1/x", origin.commit({"a": "2"}))
    async with mirrors.checkout(request(server, "v1/x", told)) as checkout:
        assert checkout.commit == told


@pytest.mark.parametrize("told", [True, False])
async def test_a_repository_of_sha256_objects_is_checked_out(
    told: bool, tmp_path: Path, server: GitServer, mirrors: Mirrors
) -> None:
    origin = Repository(tmp_path / "served/owner/app.git", object_format="sha256")
    commit = origin.tag("v1", origin.commit({"a": "1"}))
    async with mirrors.checkout(request(server, commit=commit if told else "")) as checkout:
        assert checkout.commit == commit
        assert len(commit) == 64
        assert await checkout.read("a", 10) == b"1"


async def test_a_project_that_moved_to_other_hashes_goes_on(
    origin: Repository, tmp_path: Path, server: GitServer, mirrors: Mirrors
) -> None:
    origin.tag("v1", origin.commit({"a": "1"}))
    async with mirrors.checkout(request(server)):
        pass
    new = Repository(tmp_path / "served/owner/new.git", object_format="sha256")
    told = new.tag("v2", new.commit({"a": "2"}))
    async with mirrors.checkout(request(server, "v2", told, url=server.url("owner/new.git"))) as checkout:
        assert checkout.commit == told


async def test_a_local_repository_is_fetched_whoever_owns_it(origin: Repository, mirrors: Mirrors) -> None:
    told = origin.tag("v1", origin.commit({"a": "1"}))
    for path in (origin.path, *origin.path.iterdir()):
        os.chown(path, 12345, 12345)
    wish = CheckoutRequest("p1", str(origin.path), True, "refs/tags/v1", told)
    async with mirrors.checkout(wish) as checkout:
        assert checkout.commit == told


async def test_many_checkouts_at_once_fetch_once_and_all_succeed(
    origin: Repository, server: GitServer, tmp_path: Path
) -> None:
    told = origin.tag("v1", origin.commit({"a": "1"}))
    both = [Mirrors(tmp_path / "mirrors"), Mirrors(tmp_path / "mirrors")]  # as two processes would

    async def one(number: int) -> bytes | None:
        async with both[number % 2].checkout(request(server, commit=told)) as checkout:
            return await checkout.read("a", 10)

    assert await asyncio.gather(*(one(number) for number in range(8))) == [b"1"] * 8
    assert sum(path.endswith("/git-upload-pack") for path, _ in server.requests) == 1  # by its id: no list of refs


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("ext::sh -c id", False),
        ("file:///etc", False),
        ("git://127.0.0.1/x", False),
        ("--upload-pack=id", False),
        ("ssh://-oProxyCommand=id/x", False),
        ("/etc", False),
    ],
)
async def test_urls_that_could_run_programs_or_read_this_machine_are_refused(
    url: str, local: bool, mirrors: Mirrors
) -> None:
    with pytest.raises(SourceRefused):
        async with mirrors.checkout(CheckoutRequest("p1", url, local, "refs/tags/v1")):
            pass


@pytest.mark.parametrize("ref", ["--upload-pack=id", "refs/tags/-x", "refs/tags/a..b", "refs/tags/a\nb", "main"])
async def test_refs_that_git_would_not_allow_are_refused(
    ref: str, origin: Repository, server: GitServer, mirrors: Mirrors
) -> None:
    with pytest.raises(SourceRefused):
        async with mirrors.checkout(CheckoutRequest("p1", server.url("owner/app.git"), False, ref)):
            pass
    assert server.requests == []


@pytest.mark.parametrize("commit", ["--output=x", "HEAD", "0" * 40, "abc"])
async def test_a_told_commit_that_is_no_object_id_is_refused(
    commit: str, origin: Repository, server: GitServer, mirrors: Mirrors
) -> None:
    with pytest.raises(SourceRefused):
        async with mirrors.checkout(request(server, commit=commit)):
            pass


async def test_credentials_open_the_door_and_stay_off_the_disk(
    origin: Repository, server: GitServer, mirrors: Mirrors, tmp_path: Path
) -> None:
    server.credentials = ("robot", "s3cr3t-token")
    told = origin.tag("v1", origin.commit({"a": "1"}))
    async with mirrors.checkout(request(server, commit=told, credentials=("robot", "s3cr3t-token"))) as checkout:
        assert checkout.commit == told
    for path in (tmp_path / "mirrors").rglob("*"):
        assert not path.is_file() or b"s3cr3t" not in path.read_bytes()


@pytest.mark.parametrize("credentials", [None, ("robot", "wrong-token")])
async def test_a_server_that_asks_who_is_there_gives_a_clear_error(
    credentials: tuple[str, str] | None, origin: Repository, server: GitServer, mirrors: Mirrors
) -> None:
    server.credentials = ("robot", "s3cr3t-token")
    with pytest.raises(GitUnauthorized) as caught:
        async with mirrors.checkout(request(server, credentials=credentials)):
            pass
    assert not caught.value.temporary
    assert "token" in caught.value.hint
    assert "wrong-token" not in caught.value.sentence


async def test_credentials_are_not_sent_to_the_host_of_a_redirect(
    origin: Repository, server: GitServer, mirrors: Mirrors, tmp_path: Path
) -> None:
    with git_server(tmp_path / "served") as other:
        server.redirect = other.address
        with pytest.raises(RepositoryNotFound, match="has moved"):
            async with mirrors.checkout(request(server, credentials=("robot", "s3cr3t-token"))):
                pass
        assert other.requests == []


async def test_a_redirect_is_followed_without_credentials(
    origin: Repository, server: GitServer, mirrors: Mirrors, tmp_path: Path
) -> None:
    told = origin.tag("v1", origin.commit({"a": "1"}))
    with git_server(tmp_path / "served") as other:
        server.redirect = other.address
        async with mirrors.checkout(request(server, commit=told)) as checkout:
            assert checkout.commit == told


async def test_a_missing_repository_is_named(server: GitServer, mirrors: Mirrors) -> None:
    with pytest.raises(RepositoryNotFound, match=r"owner/app\.git"):
        async with mirrors.checkout(request(server)):
            pass


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://127.0.0.1:1/x/y.git", "Failed to connect|Could not connect|Couldn't connect"),
        ("http://no-such-host.invalid/x/y.git", "resolve"),
        ("ssh://git@127.0.0.1:1/x/y.git", "refused"),
    ],
)
async def test_a_server_that_is_not_there_is_worth_another_try(url: str, words: str, mirrors: Mirrors) -> None:
    with pytest.raises(GitUnreachable, match=words) as caught:
        async with mirrors.checkout(CheckoutRequest("p1", url, False, "refs/tags/v1")):
            pass
    assert caught.value.temporary
