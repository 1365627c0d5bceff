"""Submodules and LFS files of a work tree: they come from what was cloned, and else from where that came from."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lumper.build.source.checkout import CheckoutRequest, Limits, Mirrors
from lumper.build.source.full_source import Wanted
from lumper.build.source.pinned_address import AddressGuard
from lumper.cli.builds.work_tree import here, with_changes
from lumper.errors import SourceRefused
from lumper.model.addresses import Network
from parts.git.git_repository import ENVIRONMENT, Repository
from parts.git.git_server import GitServer, git_server
from parts.git.lfs_server import lfs_server

pytestmark = pytest.mark.system

WHOLE = Wanted(submodules=True, lfs=True)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[GitServer]:
    """A server of an app with a submodule by a relative URL, which has one too."""
    deep, lib, app = (Repository(tmp_path / f"served/owner/{name}.git") for name in ("deep", "lib", "app"))
    inner = deep.commit({"deep.txt": "deep"})
    middle = lib.commit(
        {"lib.txt": "lib", ".gitmodules": '[submodule "d"]\n\tpath = d\n\turl = ../deep.git\n'}, submodules={"d": inner}
    )
    listed = '[submodule "lib"]\n\tpath = vendor/lib\n\turl = ../lib.git\n'
    app.commit({"Dockerfile": "FROM scratch\n", ".gitmodules": listed}, submodules={"vendor/lib": middle})
    with git_server(tmp_path / "served") as server:
        yield server


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Git as somebody who uses LFS has it."""
    for key, value in ENVIRONMENT.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    git(tmp_path, "lfs", "install", "--skip-repo")


def git(folder: Path, *arguments: str) -> None:
    """Run git as that one."""
    subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True)


def clone(server: GitServer, *options: str) -> Path:
    """A clone of the app."""
    to = server.root.parent / "clone"
    git(server.root, "clone", "--quiet", *options, server.url("owner/app.git"), str(to))
    server.requests.clear()
    return to


async def built_from(root: Path, wanted: Wanted = WHOLE, *, work_tree: bool = False) -> tuple[dict[str, bytes], str]:
    """The files of the context that `lumper build` makes of a work tree, and what is said meanwhile."""
    reach = AddressGuard(Network(allow_hosts=("127.0.0.1",)), environment={})
    mirrors = Mirrors(root.parent / "mirrors", limits=Limits(timeout=60), reach=reach)
    told: list[str] = []
    with with_changes(here(root)) as found:
        tree = found if work_tree else here(root)
        request = CheckoutRequest(
            *("w1", str(tree.changes or tree.root), True, tree.ref, tree.commit), origin=tree.origin, lend=tree.lend
        )
        async with mirrors.checkout(request) as checkout:
            await checkout.complete(wanted, told.append)
            told += await checkout.left_out(".")
            tar = b"".join([chunk async for chunk in checkout.archive()])
    with tarfile.open(fileobj=io.BytesIO(tar)) as opened:
        files = {one.name: opened.extractfile(one).read() for one in opened if one.isfile()}  # type: ignore[union-attr]
    return files, "\n".join(told)


async def test_submodules_that_are_checked_out_need_no_network_and_no_credentials(server: GitServer) -> None:
    root = clone(server, "--recurse-submodules")
    server.credentials = ("nobody", "knows")
    files, _ = await built_from(root)
    assert (files["vendor/lib/lib.txt"], files["vendor/lib/d/deep.txt"]) == (b"lib", b"deep")
    assert server.requests == []


async def test_submodules_that_are_not_checked_out_come_from_beside_the_origin(server: GitServer) -> None:
    files, told = await built_from(clone(server))
    assert (files["vendor/lib/lib.txt"], files["vendor/lib/d/deep.txt"]) == (b"lib", b"deep")
    assert server.url("owner/deep.git") in told


async def test_a_shallow_clone_lends_too(server: GitServer) -> None:
    root = clone(server, "--recurse-submodules", "--shallow-submodules", "--depth=1")
    files, _ = await built_from(root)
    assert files["vendor/lib/d/deep.txt"] == b"deep"
    assert server.requests == []


async def test_a_commit_of_a_submodule_that_is_nowhere_else_yet_is_in_the_work_tree(server: GitServer) -> None:
    root = clone(server, "--recurse-submodules")
    (root / "vendor/lib/new.txt").write_text("new")
    git(root / "vendor/lib", "add", ".")
    git(root / "vendor/lib", "commit", "--quiet", "--message", "new")
    files, _ = await built_from(root, work_tree=True)
    assert files["vendor/lib/new.txt"] == b"new"
    files, _ = await built_from(root)
    assert "vendor/lib/new.txt" not in files


async def test_submodules_that_nobody_asked_for_are_told(server: GitServer) -> None:
    files, told = await built_from(clone(server), Wanted())
    assert "vendor/lib/lib.txt" not in files
    assert told == "1 submodule is empty (vendor/lib): set [source] submodules = true to fetch them"


async def test_a_link_that_is_not_listed_is_told(server: GitServer) -> None:
    root = clone(server)
    (root / ".gitmodules").write_text("# nothing\n")
    git(root, "add", ".")
    git(root, "commit", "--quiet", "--message", "x")
    _, told = await built_from(root)
    assert told == "1 submodule is empty (vendor/lib): .gitmodules does not name them"


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A repository that was made here, with a large file, and an uncommitted change of it."""
    root = tmp_path / "large"
    root.mkdir()
    git(root, "init", "--quiet", "--initial-branch=main")
    git(root, "lfs", "track", "*.bin")
    (root / "Dockerfile").write_text("FROM scratch\n")
    (root / "x.bin").write_bytes(b"large" * 1000)
    git(root, "add", ".")
    git(root, "commit", "--quiet", "--message", "x")
    (root / "x.bin").write_bytes(b"changed")
    return root


async def test_files_of_lfs_that_are_here_need_no_server(large: Path) -> None:
    files, _ = await built_from(large)
    assert files["x.bin"] == b"large" * 1000
    files, _ = await built_from(large, work_tree=True)
    assert files["x.bin"] == b"changed"
    files, told = await built_from(large, Wanted())
    assert files["x.bin"].startswith(b"version https://git-lfs")
    assert told == "1 LFS file is only pointers (x.bin): set [source] lfs = true to fetch them"


@pytest.mark.parametrize("content", [None, b"other", b"larg" * 1250])
async def test_files_of_lfs_that_are_not_here_come_from_their_server(large: Path, content: bytes | None) -> None:
    (kept,) = [Path(folder) / name for folder, _, names in os.walk(large / ".git/lfs/objects") for name in names]
    kept.chmod(0o644)
    kept.unlink() if content is None else kept.write_bytes(content)
    with pytest.raises(SourceRefused, match="no LFS server of its own") as caught:
        await built_from(large)
    assert "git lfs fetch" in str(caught.value.hint)
    with lfs_server() as lfs:
        lfs.add(b"large" * 1000)
        git(large, "remote", "add", "origin", f"{lfs.address}/owner/large.git")
        files, told = await built_from(large)
    assert files["x.bin"] == b"large" * 1000
    assert "fetching 1 LFS file," in told
    assert lfs.requests[0][0] == "/owner/large.git/info/lfs/objects/batch"
