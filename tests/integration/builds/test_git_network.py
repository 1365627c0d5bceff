"""Where git is let connect to: judged by address, however the address was found."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lumper.build.source.checkout import CheckoutRequest, Limits, Mirrors
from lumper.build.source.pinned_address import AddressGuard
from lumper.build.source.remotes import Remotes
from lumper.errors import RepositoryNotFound, SourceError, SourceRefused
from lumper.model.addresses import Network
from lumper.model.source import Project
from parts.git.git_repository import Repository
from parts.git.git_server import GitServer, git_server


@pytest.fixture
def origin(tmp_path: Path) -> Repository:
    """A repository with one commit, tagged v1."""
    repository = Repository(tmp_path / "served/owner/app.git")
    repository.tag("v1", repository.commit({"Dockerfile": "FROM scratch\n"}))
    return repository


@pytest.fixture
def server(tmp_path: Path, origin: Repository) -> Iterator[GitServer]:
    """A server of it, on loopback."""
    with git_server(tmp_path / "served") as server:
        yield server


class Names:
    """A name server that may answer otherwise the next time."""

    def __init__(self, answers: Mapping[str, list[list[str]]]) -> None:
        self.asked: list[str] = []
        self._answers = answers

    async def __call__(self, host: str, _port: int) -> list[str]:
        answers = self._answers[host]
        self.asked.append(host)
        return answers[min(self.asked.count(host), len(answers)) - 1]


def reach(answers: Mapping[str, list[list[str]]] | None = None, **network: object) -> AddressGuard:
    """A reach with names of ours."""
    return AddressGuard(Network(**network), lookup=Names(answers or {}), environment={})  # type: ignore[arg-type]


def named(server: GitServer, host: str) -> str:
    """The URL of the repository with another name for its host."""
    return server.url("owner/app.git").replace("127.0.0.1", host)


async def check_out(folder: Path, reach: AddressGuard, url: str, **more: object) -> str:
    """The commit of v1."""
    mirrors = Mirrors(folder, limits=Limits(timeout=60), reach=reach)
    async with mirrors.checkout(CheckoutRequest("p1", url, False, "refs/tags/v1", **more)) as checkout:  # type: ignore[arg-type]
        return checkout.commit


async def tell_tags(folder: Path, reach: AddressGuard, url: str) -> None:
    """What the server of tags asks for."""
    project = Project("p1", "app", url, "owner/app", "owner/app", datetime.now(UTC))
    await Remotes(folder, reach=reach).refs(project)


@pytest.mark.parametrize("ask", [check_out, tell_tags])
@pytest.mark.parametrize(
    "host",
    ["169.254.169.254", "0177.0.0.1", "2130706433", "[::ffff:127.0.0.1]", "[fe80::1]", "0.0.0.0", "127.1", "[::]"],
)
async def test_addresses_that_no_git_server_has_are_refused(
    host: str, ask: object, server: GitServer, tmp_path: Path
) -> None:
    with pytest.raises(SourceRefused):
        await ask(tmp_path / "git", reach(), named(server, host))  # type: ignore[operator]
    assert server.requests == []


@pytest.mark.parametrize("scheme", ["http", "ssh"])
@pytest.mark.parametrize("answer", [["169.254.169.254"], ["93.184.215.14", "169.254.169.254"], ["127.0.0.1"], ["::1"]])
async def test_a_name_with_one_bad_answer_is_refused_before_anything_connects(
    scheme: str, answer: list[str], server: GitServer, tmp_path: Path
) -> None:
    url = named(server, "git.example.org").replace("http:", f"{scheme}:")
    with pytest.raises(SourceRefused, match="does not connect") as caught:
        await check_out(tmp_path / "git", reach({"git.example.org": [answer]}), url)
    assert "allow_hosts" in caught.value.hint
    assert server.requests == []


async def test_a_name_is_looked_up_once_and_git_is_held_to_the_answer(
    origin: Repository, server: GitServer, tmp_path: Path
) -> None:
    held = reach({"git.nowhere.invalid": [["127.0.0.1"], ["169.254.169.254"]]}, allow_hosts=("git.nowhere.invalid",))
    commit = await check_out(tmp_path / "git", held, named(server, "git.nowhere.invalid"))
    assert commit == origin.git("rev-parse", "v1")
    assert len(server.requests) > 1  # more than one request, all to the one address


async def test_ssh_is_held_to_the_judged_address_and_knows_the_key_by_the_name(tmp_path: Path) -> None:
    greeting = asyncio.get_running_loop().create_future()

    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        greeting.set_result(writer.get_extra_info("sockname")[0])
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listener:
        port = listener.sockets[0].getsockname()[1]
        held = reach({"git.nowhere.invalid": [["127.0.0.1"]]}, allow_hosts=("git.nowhere.invalid",))
        with pytest.raises(SourceError, match=r"cannot be fetched|does not let"):
            await check_out(tmp_path / "git", held, f"ssh://git@git.nowhere.invalid:{port}/owner/app.git")
        assert await asyncio.wait_for(greeting, 60) == "127.0.0.1"


@pytest.mark.parametrize(
    "target", ["http://169.254.169.254", "http://metadata.example.org", "http://inner.example.org"]
)
async def test_a_redirect_to_an_address_out_of_bounds_is_not_followed(
    target: str, server: GitServer, tmp_path: Path
) -> None:
    names = {"metadata.example.org": [["169.254.169.254"]], "inner.example.org": [["192.168.1.5"]]}
    server.redirect = target
    for ask in (check_out, tell_tags):
        with pytest.raises(SourceRefused, match="does not connect"):
            await ask(tmp_path / ask.__name__, reach(names), server.url("owner/app.git"))


async def test_a_redirect_to_another_name_of_this_machine_needs_leave(
    origin: Repository, server: GitServer, tmp_path: Path
) -> None:
    with git_server(tmp_path / "served") as other:
        server.redirect = other.address.replace("127.0.0.1", "mirror.nowhere.invalid")
        names = {"mirror.nowhere.invalid": [["127.0.0.1"]]}
        with pytest.raises(SourceRefused):
            await check_out(tmp_path / "git", reach(names), server.url("owner/app.git"))
        assert other.requests == []
        held = reach(names, allow_hosts=("mirror.nowhere.invalid",))
        assert await check_out(tmp_path / "git", held, server.url("owner/app.git")) == origin.git("rev-parse", "v1")
        await tell_tags(tmp_path / "tags", held, server.url("owner/app.git"))


async def test_a_redirect_to_itself_ends(server: GitServer, tmp_path: Path) -> None:
    server.redirect = server.address + "/again"
    with pytest.raises(RepositoryNotFound, match="moved"):
        await check_out(tmp_path / "git", reach(), server.url("owner/app.git"))
    assert len(server.requests) < 20


async def test_a_redirect_on_the_same_server_takes_the_credentials_along(
    origin: Repository, server: GitServer, tmp_path: Path
) -> None:
    server.renamed = {"/old/app.git": "/owner/app.git"}
    server.credentials = ("robot", "s3cr3t-token")
    commit = await check_out(tmp_path / "git", reach(), server.url("old/app.git"), credentials=server.credentials)
    assert commit == origin.git("rev-parse", "v1")


async def test_a_list_of_alternates_leads_a_server_of_plain_files_nowhere_else(
    origin: Repository, server: GitServer, tmp_path: Path
) -> None:
    server.dumb = True
    with git_server(tmp_path / "served") as other:
        objects = origin.path / "objects"
        (objects / "info").mkdir(exist_ok=True)
        (objects / "info/http-alternates").write_text(f"{other.address}/owner/app.git/objects\n")
        blob = origin.git("rev-parse", "v1:Dockerfile")
        (objects / blob[:2] / blob[2:]).unlink()
        with pytest.raises(SourceError):
            await check_out(tmp_path / "git", reach(), server.url("owner/app.git"))
        assert other.requests == []


async def test_credentials_stand_in_no_argument_and_in_no_file_while_git_runs(
    server: GitServer, tmp_path: Path
) -> None:
    secret = "s3cr3t-token-in-url"
    server.hang = True
    url = server.url("owner/app.git").replace("//", f"//robot:{secret}@")
    task = asyncio.create_task(check_out(tmp_path / "git", reach(), url))
    await asyncio.to_thread(server.arrived.wait, 20)
    processes = Path("/proc").glob("[0-9]*/cmdline")
    listing = (
        b" ".join([path.read_bytes() for path in processes if path.exists()]).replace(b"\0", b" ").decode("latin-1")
    )
    told = [path for path in (tmp_path / "git").rglob("*") if path.is_file() and secret in path.read_text("latin-1")]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert "owner/app.git" in listing
    assert secret not in listing
    assert told == []
