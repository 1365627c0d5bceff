"""Submodules and the files of Git LFS: what comes with them, and what stays out."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lumper.build.source.checkout import CheckoutRequest, Limits, Mirrors
from lumper.build.source.full_source import Wanted
from lumper.build.source.pinned_address import AddressGuard
from lumper.errors import (
    CheckoutTooLarge,
    GitUnauthorized,
    LumperError,
    RefNotFound,
    SourceError,
    SourceRefused,
)
from lumper.model.addresses import Network
from parts.git.git_repository import Repository
from parts.git.git_server import GitServer, git_server
from parts.git.lfs_server import LfsServer, lfs_server, pointer

pytestmark = pytest.mark.system

BOTH = Wanted(submodules=True, lfs=True)
ATTRIBUTES = {".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n"}


@pytest.fixture
def app(tmp_path: Path) -> Repository:
    """The project's repository, empty."""
    return Repository(tmp_path / "served/owner/app.git")


@pytest.fixture
def lib(tmp_path: Path) -> Repository:
    """Another repository on the same server."""
    return Repository(tmp_path / "served/owner/lib.git")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[GitServer]:
    """A server of both."""
    with git_server(tmp_path / "served") as server:
        yield server


@pytest.fixture
def lfs() -> Iterator[LfsServer]:
    """A server of large files."""
    with lfs_server() as server:
        yield server


def modules(**urls: str) -> dict[str, str]:
    """A `.gitmodules`; names are paths, two underscores a slash."""
    lines = [f'[submodule "{n}"]\n\tpath = {n.replace("__", "/")}\n\turl = {url}\n' for n, url in urls.items()]
    return {".gitmodules": "".join(lines), "Dockerfile": "FROM scratch\n"}


class Context:
    """The context of a commit: its files, and what the log was told."""

    def __init__(self, tar: bytes, told: list[str]) -> None:
        self.told = told
        with tarfile.open(fileobj=io.BytesIO(tar)) as opened:
            self.members = {member.name: member for member in opened.getmembers()}
            self.files = {
                name: opened.extractfile(member).read()  # type: ignore[union-attr]
                for name, member in self.members.items()
                if member.isfile()
            }


async def context_of(
    app: Repository, server: GitServer, commit: str, wanted: Wanted = BOTH, *, context: str = ".", **more: object
) -> Context:
    """Check out a commit of the app with all that is wanted."""
    folder = server.root.parent / "mirrors"
    limits = Limits(timeout=60, max_bytes=int(str(more.pop("max_bytes", 64 << 20))))
    mirrors = Mirrors(folder, limits=limits, reach=AddressGuard(Network(**more.pop("network", {})), environment={}))  # type: ignore[arg-type]
    request = CheckoutRequest("p1", server.url("owner/app.git"), False, "refs/tags/v1", app.tag("v1", commit), **more)  # type: ignore[arg-type]
    told: list[str] = []
    async with mirrors.checkout(request) as checkout:
        await checkout.complete(wanted, told.append)
        told += await checkout.left_out(context)
        return Context(b"".join([chunk async for chunk in checkout.archive(context)]), told)


async def test_submodules_of_submodules_lie_in_the_context_by_relative_urls(
    app: Repository, lib: Repository, server: GitServer, tmp_path: Path
) -> None:
    deep = Repository(tmp_path / "served/other/deep.git")
    inner = deep.commit({"deep.txt": "deep"})
    middle = lib.commit(
        {**modules(sub="../../other/deep.git"), "lib.sh": "x"}, submodules={"sub": inner}, executables=("lib.sh",)
    )
    commit = app.commit({**modules(vendor__lib="../lib.git"), "zz": "1"}, submodules={"vendor/lib": middle})
    context = await context_of(app, server, commit)
    assert context.files["vendor/lib/sub/deep.txt"] == b"deep"
    assert context.files["zz"] == b"1"
    assert context.members["vendor/lib/lib.sh"].mode == 0o755
    assert {member.mtime for member in context.members.values()} == {1700000100}
    assert len([line for line in context.told if "submodule" in line]) == 2


async def test_a_second_build_needs_no_network_for_submodules_and_gives_the_same_bytes(
    app: Repository, lib: Repository, server: GitServer
) -> None:
    commit = app.commit(modules(lib="../lib.git"), submodules={"lib": lib.commit({"a": "1"})})
    first = await context_of(app, server, commit)
    server.requests.clear()
    second = await context_of(app, server, commit)
    assert server.requests == []
    assert first.files == second.files


async def test_a_context_and_a_dockerfile_may_lie_in_a_submodule(
    app: Repository, lib: Repository, server: GitServer
) -> None:
    inner = lib.commit(
        {"docker/Dockerfile": "FROM scratch\n", "docker/.dockerignore": "no\n", "docker/no": "", "b": ""}
    )
    commit = app.commit(modules(lib="../lib.git"), submodules={"lib": inner})
    context = await context_of(app, server, commit, context="lib/docker")
    assert sorted(context.files) == [".dockerignore", "Dockerfile"]


async def test_submodules_are_not_fetched_unless_asked_for(app: Repository, lib: Repository, server: GitServer) -> None:
    commit = app.commit(modules(lib="../lib.git"), submodules={"lib": lib.commit({"a": "1"})})
    context = await context_of(app, server, commit, Wanted())
    assert sorted(context.files) == [".gitmodules", "Dockerfile"]
    assert not [path for path, _ in server.requests if "lib.git" in path]


async def test_a_list_of_submodules_without_a_link_builds(app: Repository, server: GitServer) -> None:
    commit = app.commit(modules(gone="../gone.git", evil="ext::sh -c id"))
    context = await context_of(app, server, commit)
    assert sorted(context.files) == [".gitmodules", "Dockerfile"]


@pytest.mark.parametrize(
    "url",
    [
        *("ext::sh -c id", "file:///etc", "/etc", "-u./payload", "git://127.0.0.1/x", "ssh://-oProxyCommand=id/x"),
        *("../../../../../etc/x", "http://169.254.169.254/x.git", "http://0177.0.0.1/x.git", '"../lib.git\\r"'),
        '"../lib.git\\b"',
    ],
)
async def test_submodules_from_where_no_project_could_come_are_refused(
    url: str, app: Repository, lib: Repository, server: GitServer
) -> None:
    text = modules(lib="URL")[".gitmodules"].replace("URL", url.replace("\\r", "\r"))
    commit = app.commit({".gitmodules": text, "Dockerfile": ""}, submodules={"lib": lib.commit({"a": "1"})})
    with pytest.raises(SourceError):
        await context_of(app, server, commit)
    assert not [path for path, _ in server.requests if "lib.git" in path and "owner" not in path]


@pytest.mark.parametrize("path", ["../..", "/etc", ".git", "a/../../b", "link/modules", "lib\r"])
async def test_paths_that_are_no_link_of_the_tree_itself_bring_nothing(
    path: str, app: Repository, lib: Repository, server: GitServer
) -> None:
    text = f'[submodule "../../x"]\n\tpath = "{path}"\n\turl = ../lib.git\n'
    inner = lib.commit({"a": "1"})
    files = {".gitmodules": text, "Dockerfile": ""}
    context = await context_of(app, server, app.commit(files, submodules={"lib": inner}, links={"link": ".git"}))
    assert sorted(context.files) == [".gitmodules", "Dockerfile"]
    assert not [name for name in context.members if ".." in name or name.startswith("/")]


async def test_a_link_into_a_submodule_is_followed_and_one_out_of_the_tree_is_not(
    app: Repository, lib: Repository, server: GitServer
) -> None:
    inner = lib.commit({"Real": "FROM scratch\n"}, links={"out": "../../../etc"})
    commit = app.commit(
        modules(lib="../lib.git"), submodules={"lib": inner}, links={"D2": "lib/Real", "D3": "lib/out/x"}
    )
    mirrors = Mirrors(server.root.parent / "mirrors", limits=Limits(timeout=60))
    request = CheckoutRequest("p1", server.url("owner/app.git"), False, "refs/tags/v1", app.tag("v1", commit))
    async with mirrors.checkout(request) as checkout:
        await checkout.complete(BOTH, lambda _: None)
        assert await checkout.read("D2", 100) == b"FROM scratch\n"
        with pytest.raises(LumperError, match="leaves the repository"):
            await checkout.read("D3", 100)


async def test_credentials_go_to_submodules_on_the_same_server_only(
    app: Repository, lib: Repository, server: GitServer, tmp_path: Path
) -> None:
    server.credentials = ("robot", "s3cr3t-token")
    with git_server(tmp_path / "served") as other:
        inner = lib.commit({"a": "1"})
        commit = app.commit(
            modules(near="../lib.git", far=other.url("owner/lib.git")), submodules={"near": inner, "far": inner}
        )
        context = await context_of(app, server, commit, credentials=server.credentials)
        assert context.files["near/a"] == context.files["far/a"] == b"1"
        assert other.requests
        assert not [headers for _, headers in other.requests if "Authorization" in headers]


async def test_a_submodule_may_not_lead_into_private_networks(
    app: Repository, lib: Repository, server: GitServer
) -> None:
    commit = app.commit(modules(lib="http://10.255.255.1/x/y.git"), submodules={"lib": lib.commit({"a": "1"})})
    with pytest.raises(SourceRefused, match=r"submodule lib .*private address"):
        await context_of(app, server, commit)


async def test_a_submodule_whose_commit_is_gone_is_named(app: Repository, lib: Repository, server: GitServer) -> None:
    lib.commit({"a": "1"})
    commit = app.commit(modules(lib="../lib.git"), submodules={"lib": "1" * 40})
    with pytest.raises(RefNotFound, match="submodule lib cannot be fetched") as caught:
        await context_of(app, server, commit)
    assert "Push" in caught.value.hint


async def test_submodules_that_go_round_in_circles_or_are_too_large_end(
    app: Repository, lib: Repository, server: GitServer
) -> None:
    inner = lib.commit({"a": "1"})
    for _ in range(12):
        inner = lib.commit(modules(again="../lib.git"), submodules={"again": inner}, parent=inner)
    with pytest.raises(SourceRefused, match="deep"):
        await context_of(app, server, app.commit(modules(lib="../lib.git"), submodules={"lib": inner}))
    large = lib.commit({"large": hashlib.shake_128(b"x").digest(1 << 20)})
    with pytest.raises(CheckoutTooLarge):
        await context_of(
            app, server, app.commit(modules(lib="../lib.git"), submodules={"lib": large}), max_bytes=1 << 19
        )


async def test_files_of_lfs_lie_in_the_context_with_their_modes(
    app: Repository, server: GitServer, lfs: LfsServer
) -> None:
    large = hashlib.shake_128(b"y").digest(3 << 20)
    files = {**ATTRIBUTES, ".lfsconfig": f"[lfs]\n\turl = {lfs.address}/app/info/lfs\n", "Dockerfile": ""}
    files |= {"data/large.bin": lfs.add(large), "run.bin": lfs.add(b"small"), "again.bin": lfs.add(large)}
    commit = app.commit(files, executables=("run.bin",))
    context = await context_of(app, server, commit)
    assert context.files["data/large.bin"] == context.files["again.bin"] == large
    assert (context.files["run.bin"], context.members["run.bin"].mode) == (b"small", 0o755)
    assert [path for path, _ in lfs.requests if "signed=a%2Fb" in path]
    lfs.requests.clear()
    assert (await context_of(app, server, commit)).files == context.files
    assert lfs.requests == []


async def test_without_the_option_the_log_tells_of_pointers(app: Repository, server: GitServer, lfs: LfsServer) -> None:
    commit = app.commit({**ATTRIBUTES, "Dockerfile": "", "x.bin": lfs.add(b"x"), "sub/Dockerfile": ""})
    context = await context_of(app, server, commit, Wanted())
    assert context.files["x.bin"].startswith(b"version https://git-lfs")
    assert ["[source] lfs = true" in line and "x.bin" in line for line in context.told] == [True]
    assert (await context_of(app, server, commit, Wanted(), context="sub")).told == []


async def test_files_of_lfs_that_are_not_what_was_promised_are_refused(
    app: Repository, server: GitServer, lfs: LfsServer
) -> None:
    config = {".lfsconfig": f"[lfs]\n\turl = {lfs.address}\n", "Dockerfile": "", **ATTRIBUTES}
    oid = hashlib.sha256(b"good").hexdigest()
    for content in (b"evil", b"goo", b"good and more"):
        lfs.files[oid] = content
        with pytest.raises(SourceError, match="other bytes"):
            await context_of(app, server, app.commit({**config, "x.bin": pointer(oid, 4)}))
    with pytest.raises(SourceError, match=r"does not have x\.bin \(111111111111\): not there"):
        await context_of(app, server, app.commit({**config, "x.bin": pointer("1" * 64, 4)}))
    with pytest.raises(CheckoutTooLarge):
        await context_of(app, server, app.commit({**config, "x.bin": pointer(oid, 1 << 40)}))


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({".lfsconfig": "[lfs]\n\turl = ssh://git@h/a/b.git\n"}, r"\[lfs\] url in .lfsconfig is ssh://git@h/a/b.git"),
        ({".lfsconfig": "[lfs\n"}, r"^\.lfsconfig cannot be read: bad config line 1\.$"),
        ({".gitmodules": '[submodule "a"]\n\tpath\n\t= x\n'}, r"^\.gitmodules cannot be read: bad config line 3\.$"),
    ],
)
async def test_settings_that_make_no_sense_are_told_by_their_file(
    files: dict[str, str], words: str, app: Repository, server: GitServer
) -> None:
    wanted = Wanted(submodules=".gitmodules" in files, lfs=".lfsconfig" in files)
    commit = app.commit({"Dockerfile": "", **ATTRIBUTES, "x.bin": pointer("1" * 64, 4), **files})
    with pytest.raises(SourceError, match=words):
        await context_of(app, server, commit, wanted)


async def test_an_answer_of_the_lfs_server_may_come_in_pieces(
    app: Repository, server: GitServer, lfs: LfsServer
) -> None:
    lfs.padding = 10_000
    files = {**ATTRIBUTES, ".lfsconfig": f"[lfs]\n\turl = {lfs.address}\n", "Dockerfile": ""}
    files |= {f"{n}.bin": lfs.add(b"%d" % n) for n in range(100)}
    context = await context_of(app, server, app.commit(files))
    assert context.files["99.bin"] == b"99"


async def test_what_the_lfs_server_says_of_a_refusal_is_told(
    app: Repository, server: GitServer, lfs: LfsServer
) -> None:
    files = {".lfsconfig": f"[lfs]\n\turl = {lfs.address}\n", "Dockerfile": "", **ATTRIBUTES, "x.bin": lfs.add(b"x")}
    commit = app.commit(files)
    for status, kind in ((403, GitUnauthorized), (404, SourceError), (507, SourceError)):
        lfs.refusal = status, "the quota of \x1b[2Jacme is used up."
        with pytest.raises(kind, match=r"the quota of  \[2Jacme is used up\.$") as caught:
            await context_of(app, server, commit)
        assert lfs.address in str(caught.value)


async def test_credentials_go_to_no_other_lfs_server_and_no_server_leads_inside(
    app: Repository, server: GitServer, lfs: LfsServer
) -> None:
    server.credentials = lfs.credentials = ("robot", "s3cr3t-token")
    files = {".lfsconfig": f"[lfs]\n\turl = {lfs.address}\n", "Dockerfile": "", **ATTRIBUTES, "x.bin": lfs.add(b"x")}
    commit = app.commit(files)
    with pytest.raises(GitUnauthorized, match="LFS server"):
        await context_of(app, server, commit, credentials=server.credentials)
    assert not [headers for _, headers in lfs.requests if "Authorization" in headers]
    lfs.credentials = None
    for lfs.href in ("http://169.254.169.254", "http://10.255.255.1", "file:///etc/passwd?", "http://0x7f.1"):
        with pytest.raises(SourceRefused):
            await context_of(app, server, commit, credentials=server.credentials)
    lfs.href, lfs.redirect = "", "http://10.255.255.1"
    with pytest.raises(SourceRefused):
        await context_of(app, server, commit, credentials=server.credentials)
