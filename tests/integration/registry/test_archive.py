"""What the engine gets of a commit."""

from __future__ import annotations

import asyncio
import io
import tarfile
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from lumper.build.source.checkout import CheckoutRequest, Mirrors
from lumper.build.source.contents import Checkout
from lumper.build.source.objects import OutsideTree
from lumper.errors import DockerfileMissing, RecipeError, SourceError
from parts.git.git_repository import Repository

MODIFIED = 1700000100


@pytest.fixture
def origin(tmp_path: Path) -> Repository:
    """An empty repository."""
    return Repository(tmp_path / "app.git")


@pytest.fixture
def mirrors(tmp_path: Path) -> Mirrors:
    """An empty folder of mirrors."""
    return Mirrors(tmp_path / "mirrors")


@asynccontextmanager
async def checked_out(origin: Repository, mirrors: Mirrors, commit: str) -> AsyncIterator[Checkout]:
    """The commit, by a tag."""
    request = CheckoutRequest("p1", str(origin.path), True, "refs/tags/v1", origin.tag("v1", commit))
    async with mirrors.checkout(request) as checkout:
        yield checkout


async def packed(checkout: Checkout, context: str = ".", dockerfile: str = "Dockerfile") -> bytes:
    """The archive as engines get it."""
    folder = await checkout.context_folder(context, dockerfile)
    return b"".join([chunk async for chunk in checkout.archive(context, dockerfile, folder=folder)])


async def archive_of(
    origin: Repository, mirrors: Mirrors, files: Mapping[str, bytes | str], /, *where: str, **more: object
) -> dict[str, tarfile.TarInfo]:
    """The members of the archive of a commit of these files."""
    commit = origin.commit({"Dockerfile": "FROM scratch\n"} | dict(files), **more)  # type: ignore[arg-type]
    async with checked_out(origin, mirrors, commit) as checkout:
        data = await packed(checkout, *where)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {member.name: member for member in tar.getmembers()}


def files_in(members: Mapping[str, tarfile.TarInfo]) -> list[str]:
    """The names of all that is no folder."""
    return sorted(name for name, member in members.items() if not member.isdir())


async def test_an_archive_has_exactly_the_files_of_the_commit_with_its_time(
    origin: Repository, mirrors: Mirrors
) -> None:
    strange = {"latin-\udce9": "1", "line\nbreak": "2", "d/" + "x" * 180 + "/" + "y" * 200: "3", "-dash": "4"}
    members = await archive_of(
        origin,
        mirrors,
        {"run.sh": "#!/bin/sh\n", **strange},
        links={"link": "run.sh", "out": "/etc/shadow", "long": "z" * 300},
        executables=("run.sh",),
    )
    expected = ["latin-\udce9", "line\nbreak", "d/" + "x" * 180 + "/" + "y" * 200, "-dash", "run.sh", "link", "out"]
    assert files_in(members) == sorted([*expected, "long", "Dockerfile"])
    assert {name: member.mode for name, member in members.items() if member.isfile()} == {
        name: (0o755 if name == "run.sh" else 0o644) for name in files_in(members) if members[name].isfile()
    }
    assert (members["out"].issym(), members["out"].linkname) == (True, "/etc/shadow")
    assert members["long"].linkname == "z" * 300
    assert {member.mtime for member in members.values()} == {MODIFIED}


async def test_attributes_of_the_repository_leave_nothing_out_and_change_nothing(
    origin: Repository, mirrors: Mirrors
) -> None:
    files = {".gitattributes": "secret export-ignore\nid export-subst\n", "secret": "1", "id": "$Format:%H$"}
    members = await archive_of(origin, mirrors, files)
    assert files_in(members) == [".gitattributes", "Dockerfile", "id", "secret"]
    assert members["id"].size == len("$Format:%H$")


@pytest.mark.parametrize("name", ["..", ".git", "."])
async def test_a_tree_with_names_that_would_leave_it_is_refused_for_good(
    name: str, origin: Repository, mirrors: Mirrors
) -> None:
    blob = origin.blob("x")
    inner = origin.git("mktree", data=f"100644 blob {blob}\tf\n".encode())
    raw = b"40000 " + name.encode() + b"\0" + bytes.fromhex(inner) + b"100644 Dockerfile\0" + bytes.fromhex(blob)
    tree = origin.git("hash-object", "-t", "tree", "-w", "--stdin", "--literally", data=raw)
    async with checked_out(origin, mirrors, origin.git("commit-tree", "-m", "x", tree)) as checkout:
        with pytest.raises(SourceError, match="invalid path") as caught:
            await anext(aiter(checkout.archive()))
    assert not caught.value.temporary


async def test_submodules_are_empty_folders_and_their_list_runs_nothing(origin: Repository, mirrors: Mirrors) -> None:
    modules = '[submodule "../../x"]\n\tpath = sub\n\turl = ext::sh -c id\n'
    members = await archive_of(origin, mirrors, {".gitmodules": modules}, submodules={"sub": "1" * 40})
    assert members["sub"].isdir()
    assert files_in(members) == [".gitmodules", "Dockerfile"]


async def test_the_ignore_file_leaves_files_out_and_the_dockerfile_reaches_the_engine_all_the_same(
    origin: Repository, mirrors: Mirrors
) -> None:
    files = {".dockerignore": "*\n!src\n**/*.pyc\n", "src/a.py": "1", "src/a.pyc": "2", "other/b": "3", "c": "4"}
    members = await archive_of(origin, mirrors, files)
    assert files_in(members) == [".lumper-context/src/a.py", "Dockerfile"]
    assert "other" not in members
    assert members[".lumper-context/src"].isdir()


async def test_folders_around_an_exception_keep_their_own_entries_in_order(
    origin: Repository, mirrors: Mirrors
) -> None:
    files = {".dockerignore": "a\n!a/b/keep\n", "a/b/keep": "1", "a/b/drop": "2", "a/drop": "3"}
    members = await archive_of(origin, mirrors, files)
    assert list(members) == [".dockerignore", "Dockerfile", "a", "a/b", "a/b/keep"]


async def test_large_and_strangely_named_files_pass_the_filter_unharmed(origin: Repository, mirrors: Mirrors) -> None:
    big, name = bytes(range(256)) * 12_345, "d/" + "x" * 180 + "/" + "y" * 200
    commit = origin.commit(
        {"Dockerfile": "", ".dockerignore": "drop*\n", "big": big, name: "1", "drop" + "z" * 200: "2", "\udcff": "3"}
    )
    async with checked_out(origin, mirrors, commit) as checkout:
        data = b"".join([chunk async for chunk in checkout.archive()])
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        content = tar.extractfile("big")
        assert content is not None
        assert content.read() == big
        names = [member.name for member in tar if member.isfile()]
        assert names == [".dockerignore", "Dockerfile", "big", name, "\udcff"]
    gnu_tar = await asyncio.create_subprocess_exec("tar", "-tf", "-", stdin=PIPE, stdout=PIPE, stderr=PIPE)
    assert (await gnu_tar.communicate(data))[1] == b""


async def test_the_ignore_file_of_the_dockerfile_itself_wins(origin: Repository, mirrors: Mirrors) -> None:
    files = {".dockerignore": "a\n", "dev.Dockerfile": "", "dev.Dockerfile.dockerignore": "b\n", "a": "", "b": ""}
    members = await archive_of(origin, mirrors, files, ".", "dev.Dockerfile")
    assert "a" in members
    assert "b" not in members
    assert "dev.Dockerfile.dockerignore" in members


async def test_a_sub_folder_as_context_is_the_root_of_the_archive_with_the_commits_time(
    origin: Repository, mirrors: Mirrors
) -> None:
    files = {"sub/Dockerfile": "", "sub/.dockerignore": "x\n", "sub/x": "", "sub/y": "", "top": ""}
    members = await archive_of(origin, mirrors, files, "sub")
    assert files_in(members) == [".dockerignore", "Dockerfile", "y"]
    assert {member.mtime for member in members.values()} == {MODIFIED}


async def test_a_context_that_is_reached_by_a_link_is_followed(origin: Repository, mirrors: Mirrors) -> None:
    members = await archive_of(origin, mirrors, {"real/Dockerfile": "", "real/x": ""}, "link", links={"link": "real"})
    assert files_in(members) == ["Dockerfile", "x"]


async def test_two_archives_of_one_commit_are_the_same_bytes(
    origin: Repository, mirrors: Mirrors, tmp_path: Path
) -> None:
    commit = origin.commit({"sub/Dockerfile": "", "sub/x": "1", ".dockerignore": "x"})
    archives = []
    for each in (mirrors, Mirrors(tmp_path / "other")):
        async with checked_out(origin, each, commit) as checkout:
            archives.append(b"".join([chunk async for chunk in checkout.archive("sub")]))
    assert archives[0] == archives[1]


async def test_a_wrong_ignore_file_names_the_lines(origin: Repository, mirrors: Mirrors) -> None:
    with pytest.raises(RecipeError, match=r"(?s)\.dockerignore has 2 problems.*line 2: .*line 3: "):
        await archive_of(origin, mirrors, {".dockerignore": "fine\n[z-a]\n!\n"})


@pytest.mark.parametrize("more", [{}, {"links": {"Dockerfile": "nowhere"}}, {"files": {"Dockerfile/x": ""}}])
async def test_without_a_dockerfile_the_place_looked_at_is_named(
    more: dict[str, dict[str, str]], origin: Repository, mirrors: Mirrors
) -> None:
    commit = origin.commit({"a": "", **more.get("files", {})}, links=more.get("links"))
    async with checked_out(origin, mirrors, commit) as checkout:
        with pytest.raises(DockerfileMissing, match="Dockerfile"):
            await checkout.dockerfile(".", "Dockerfile")
        with pytest.raises(DockerfileMissing, match="no folder sub"):
            await checkout.dockerfile("sub", "Dockerfile")


async def test_a_dockerfile_may_be_a_link_to_a_file_in_the_tree_and_both_reach_the_engine(
    origin: Repository, mirrors: Mirrors
) -> None:
    commit = origin.commit({"docker/prod": "FROM x", ".dockerignore": "*"}, links={"d/Dockerfile": "../docker/prod"})
    async with checked_out(origin, mirrors, commit) as checkout:
        entry = await checkout.dockerfile(".", "d/Dockerfile")
        data = await packed(checkout, ".", "d/Dockerfile")
    assert entry.path == "docker/prod"
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert files_in({member.name: member for member in tar}) == ["d/Dockerfile"]
        assert tar.extractfile("d/Dockerfile").read() == b"FROM x"  # type: ignore[union-attr]


@pytest.mark.parametrize("target", ["/etc/passwd", "../outside", "a/../../../etc/passwd", "Dockerfile"])
async def test_a_dockerfile_that_is_a_link_out_of_the_tree_or_to_itself_is_refused(
    target: str, origin: Repository, mirrors: Mirrors
) -> None:
    commit = origin.commit({"a/b": ""}, links={"Dockerfile": target})
    async with checked_out(origin, mirrors, commit) as checkout:
        with pytest.raises(DockerfileMissing):
            await checkout.dockerfile(".", "Dockerfile")


async def test_files_are_read_from_the_commit_and_from_nowhere_else(origin: Repository, mirrors: Mirrors) -> None:
    commit = origin.commit(
        {"lumper.toml": "x" * 100, "d/line\nbreak": "odd"},
        links={"passwd": "/etc/passwd", "up": "../x", "same": "d/line\nbreak"},
        submodules={"sub": "1" * 40},
    )
    async with checked_out(origin, mirrors, commit) as checkout:
        assert await checkout.read("lumper.toml", 100) == b"x" * 100
        with pytest.raises(SourceError, match=r"lumper\.toml is larger than the 99 bytes"):
            await checkout.read("lumper.toml", 99)
        assert await checkout.read("lumper.toml", 100) == b"x" * 100  # the reader lives on
        assert await checkout.read("d/line\nbreak", 10) == b"odd"
        assert await checkout.read("same", 10) == b"odd"
        assert await checkout.exists("same")
        for nothing in ("d", "sub", "none", "d/none", "lumper.toml/x", ""):
            assert await checkout.read(nothing, 10) is None
            assert not await checkout.exists(nothing)
        for outside in ("passwd", "up", "../x", "d/../../x"):
            with pytest.raises(OutsideTree):
                await checkout.read(outside, 10)
