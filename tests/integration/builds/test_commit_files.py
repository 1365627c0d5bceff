"""The files of a commit one by one are what its archive has."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager, closing
from pathlib import Path

import pytest

from lumper.build.context.selection import select
from lumper.build.engines.buildkit.session.spool import open_spool
from lumper.build.port import ContextEntry, Files, NotOneByOne
from lumper.build.source.checkout import CheckoutRequest, Mirrors
from lumper.build.source.contents import FEW_FILES, Checkout
from lumper.errors import MirrorDamaged
from parts.git.git_repository import Repository

COPIES_ALL = {"Dockerfile": "FROM scratch\nCOPY . /\n"}
COPIES_ONE = {"Dockerfile": "FROM scratch\nCOPY f1 /\n"}


@pytest.fixture
def origin(tmp_path: Path) -> Repository:
    """An empty repository."""
    return Repository(tmp_path / "app.git")


@asynccontextmanager
async def checked_out(origin: Repository, commit: str, folder: Path | None = None) -> AsyncIterator[Checkout]:
    """The commit, by a tag."""
    request = CheckoutRequest("p1", str(origin.path), True, "refs/tags/v1", origin.tag("v1", commit))
    async with Mirrors(folder or origin.path.parent / "mirrors").checkout(request) as checkout:
        yield checkout


async def offered(checkout: Checkout, context: str = ".", dockerfile: str = "Dockerfile") -> Files | None:
    """The files, if they are offered."""
    return await checkout.files(context, dockerfile, await checkout.context_folder(context, dockerfile))


async def whole(files: Files) -> dict[str, tuple[ContextEntry, bytes]]:
    """All of them with their bytes."""
    found = await select(files, []) or {}
    entries = list(await files.sized(list(found.values())))
    contents: dict[str, bytes] = {}
    named = iter(regular := [entry.path for entry in entries if not entry.link and entry.mode & 0o100000])
    path = next(named, "")
    async with aclosing(files.read(regular)) as reading:
        async for piece in reading:
            contents[path] = contents.get(path, b"") + piece
            path = path if piece else next(named, "")
    return {entry.path: (entry, contents.get(entry.path, b"")) for entry in entries}


async def both(
    checkout: Checkout, context: str = ".", dockerfile: str = "Dockerfile"
) -> tuple[dict[str, tuple[ContextEntry, bytes]], dict[str, tuple[ContextEntry, bytes]]]:
    """What can be had one by one, and what is in the archive."""
    files = await offered(checkout, context, dockerfile)
    assert files is not None
    folder = await checkout.context_folder(context, dockerfile)
    with closing(open_spool()) as spool:
        await spool.fill([], checkout.archive(context, dockerfile, folder=folder))
        spooled = spool.files(folder)
        assert spooled is not None
        return await whole(files), await whole(spooled)


@pytest.mark.parametrize(
    ("ignored", "context"),
    [
        ("", "."),
        ("", "sub"),
        ("build\n*.log\n", "."),
        ("build\n!build/keep\nsub/*\n!sub/deep/*/x\n", "."),
        ("*\n!sub\n!link\n", "."),
        ("Dockerfile\nbuild\n", "."),
        (".dockerignore\n", "sub"),
    ],
)
async def test_files_one_by_one_are_those_of_the_archive(origin: Repository, ignored: str, context: str) -> None:
    at = "" if context == "." else f"{context}/"
    commit = origin.commit(
        {
            f"{at}Dockerfile": "FROM scratch\nCOPY . /\n",
            f"{at}.dockerignore": ignored,
            ".gitattributes": "* text=auto\nimg binary\nsub export-ignore\n",
            "run.sh": "#!/bin/sh\r\n",
            "empty": "",
            "line\nbreak": "2",
            "größe": "3",
            "build/keep": "k",
            "build/a/b": "b",
            "x.log": "l",
            "sub/deep/er/x": "x",
            "sub/deep/y": "$Format:%H$",
            "big": "b" * 600_000,
        },
        links={"link": "run.sh", "sub/out": "/etc/shadow", "long": "z" * 300},
        executables=("run.sh", "sub/deep/er/x"),
        submodules={"module": "1" * 40},
    )
    async with checked_out(origin, commit) as checkout:
        one_by_one, archived = await both(checkout, context)
    assert list(one_by_one) == list(archived)
    assert one_by_one == archived


async def test_a_dockerfile_beside_its_context_may_lie_deep(origin: Repository) -> None:
    files = {"docker/a/b.Dockerfile": "FROM scratch\nCOPY . /\n", ".dockerignore": "docker\n", "f": "f"}
    async with checked_out(origin, origin.commit(files)) as checkout:
        one_by_one, archived = await both(checkout, ".", "docker/a/b.Dockerfile")
    # git's tar has no entries for folders that only Lumper's own file needs; they are as any other folder
    assert one_by_one == archived
    assert "docker/a/b.Dockerfile" in one_by_one


@pytest.mark.parametrize(
    ("files", "is_offered"),
    [
        (COPIES_ALL | {f"d{n % 7}/f{n}": "x" for n in range(FEW_FILES - 20)}, True),
        (COPIES_ALL | {f"d{n % 7}/f{n}": "x" for n in range(FEW_FILES)}, False),
        (COPIES_ONE | {f"f{n}": "x" for n in range(3 * FEW_FILES)}, True),
        (COPIES_ONE | {"other/latin-\udce9": "1"}, True),
        (COPIES_ONE | {"latin-\udce9": "1"}, False),
        (COPIES_ONE | {"back\\slash": "1"}, False),
        (COPIES_ONE | {".gitattributes": "*.bat text eol=crlf\n"}, False),
        (COPIES_ONE | {".gitattributes": "id ident\n"}, False),
        (COPIES_ONE | {".gitattributes": "*.png binary\n"}, True),
        (COPIES_ONE | {"other/.gitattributes": "* eol=crlf\n"}, True),
        (COPIES_ALL | {"other/.gitattributes": "* eol=crlf\n"}, False),
    ],
)
async def test_files_are_offered_where_few_are_copied_and_git_changes_none(
    origin: Repository, files: dict[str, bytes | str], is_offered: bool
) -> None:
    async with checked_out(origin, origin.commit(files)) as checkout:
        assert bool(await offered(checkout)) is is_offered


async def test_attributes_around_the_context_count(origin: Repository) -> None:
    files = {"sub/Dockerfile": "FROM scratch\nCOPY . /\n", ".gitattributes": "*.txt eol=crlf\n"}
    async with checked_out(origin, origin.commit(files)) as checkout:
        assert await offered(checkout, "sub") is None


async def test_what_turns_out_to_need_the_archive_later_says_so(origin: Repository) -> None:
    files = COPIES_ONE | {"f1": "1", "other/.gitattributes": "* eol=crlf\n"}
    async with checked_out(origin, origin.commit(files)) as checkout:
        found = await offered(checkout)
        assert found is not None
        assert list(await select(found, ["f1"]) or ()) == ["f1"]
        with pytest.raises(NotOneByOne):
            await select(found, [])


@pytest.mark.parametrize("name", ["..", ".git", ".", ".GIT", "git~1", ".git "])
async def test_names_that_git_refuses_are_left_to_it(name: str, origin: Repository) -> None:
    blob = origin.blob("FROM scratch\nCOPY . /\n")
    raw = b"100644 " + name.encode() + b"\0" + bytes.fromhex(blob) + b"100644 Dockerfile\0" + bytes.fromhex(blob)
    tree = origin.git("hash-object", "-t", "tree", "-w", "--stdin", "--literally", data=raw)
    async with checked_out(origin, origin.git("commit-tree", "-m", "x", tree)) as checkout:
        assert await offered(checkout) is None


async def test_contexts_that_differ_have_different_keys(origin: Repository, tmp_path: Path) -> None:
    keys = set[str]()
    files: Mapping[str, bytes | str] = {"a/Dockerfile": "FROM scratch\n", "b/Dockerfile": "FROM scratch\n", "a/x": "1"}
    for number, more in enumerate(({}, {"a/x": "2"}, {"a/.dockerignore": "x"})):
        commit = origin.commit(dict(files) | more)
        async with checked_out(origin, commit, tmp_path / f"{number}") as checkout:
            found = [await offered(checkout, folder) for folder in ("a", "b")]
            keys |= {each.key for each in found if each is not None}
    assert len(keys) == 4  # b is always the same


async def test_a_file_that_is_not_in_the_mirror_any_more_is_damage(origin: Repository, tmp_path: Path) -> None:
    commit = origin.commit(COPIES_ALL | {"gone": "g" * 100})
    async with checked_out(origin, commit) as checkout:
        files = await offered(checkout)
        assert files is not None
        await select(files, [])
        await checkout._objects.close()  # what it has open it could still read
        for pack in (tmp_path / "mirrors/p1.git/objects/pack").iterdir():
            pack.unlink()
        with pytest.raises(MirrorDamaged):
            async with aclosing(files.read(["gone"])) as reading:
                assert [piece async for piece in reading]
    assert (tmp_path / "mirrors/p1.git/damaged").exists()
