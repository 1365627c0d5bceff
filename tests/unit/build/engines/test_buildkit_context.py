from __future__ import annotations

import asyncio
import io
import tarfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing

import pytest

from lumper.build.engines.buildkit.context import source
from lumper.build.engines.buildkit.filesync import FileSync
from lumper.build.engines.buildkit.session import Upload
from lumper.build.engines.buildkit.spool import Entry, Spool, inside, open_spool, selected
from lumper.errors import EngineError, SourceError
from parts.context import context_tar, stream

_DIRECTORY, _SYMLINK = 1 << 31, 1 << 27


@asynccontextmanager
async def spooled(tar: bytes) -> AsyncIterator[Spool]:
    with closing(open_spool()) as spool:
        await spool.fill([], stream(tar, 700))
        yield spool


async def listed(tar: bytes) -> list[Entry]:
    async with spooled(tar) as spool:
        entries = spool.entries()
    assert entries is not None
    return entries


def paths(entries: Sequence[Entry]) -> list[str]:
    return [entry.path for entry in entries]


def special_tar(kind: bytes, name: str = "special", link: str = "") -> bytes:
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        entry = tarfile.TarInfo(name)
        entry.type, entry.linkname = kind, link
        archive.addfile(entry)
    return tar.getvalue()


async def test_a_spool_gives_every_file_with_its_bytes() -> None:
    tar = context_tar({"src/a/b.txt": "b", "a.txt": "a" * 2000}, busybox=False, links={"l": "a.txt"})
    async with spooled(tar) as spool:
        entries = {entry.path: entry for entry in spool.entries() or ()}
        assert spool.read(entries["a.txt"].offset, entries["a.txt"].size) == b"a" * 2000
        assert spool.read(entries["src/a/b.txt"].offset, 1) == b"b"

    assert list(entries) == ["a.txt", "l", "src", "src/a", "src/a/b.txt"]
    assert entries["src"].mode == _DIRECTORY | 0o755
    assert (entries["l"].mode, entries["l"].link, entries["l"].has_data) == (_SYMLINK | 0o777, "a.txt", False)
    assert entries["a.txt"].mode == 0o644


async def test_folders_come_before_their_contents_and_names_in_the_order_of_their_parts() -> None:
    names = ["a/z", "a-b", "a.c/d", "a/b/c", "B"]
    assert paths(await listed(context_tar(dict.fromkeys(names, "x"), busybox=False))) == [
        *("B", "a", "a/b", "a/b/c", "a/z", "a-b", "a.c", "a.c/d"),
    ]


@pytest.mark.parametrize(
    "tar",
    [
        special_tar(tarfile.LNKTYPE, link="other"),
        special_tar(tarfile.CHRTYPE),
        special_tar(tarfile.REGTYPE, name="../out"),
        special_tar(tarfile.REGTYPE, name="/etc/passwd"),
        special_tar(tarfile.REGTYPE, name="bad\udcff"),
    ],
)
async def test_what_only_a_tar_can_say_is_left_to_a_tar(tar: bytes) -> None:
    async with spooled(tar) as spool:
        assert spool.entries() is None


@pytest.mark.parametrize(
    ("patterns", "found"),
    [
        ([], ["d", "d/one", "d/two", "f", "l", "m", "other", "other/x"]),
        (["f"], ["f"]),
        (["/d/one", "f"], ["d", "d/one", "f"]),
        (["d"], ["d", "d/one", "d/two"]),
        (["d/*"], ["d", "d/one", "d/two"]),
        (["*.txt"], ["d", "d/one", "d/two", "f", "l", "m", "other", "other/x"]),
        (["."], ["d", "d/one", "d/two", "f", "l", "m", "other", "other/x"]),
        (["../f"], ["d", "d/one", "d/two", "f", "l", "m", "other", "other/x"]),
        (["l"], ["l", "other", "other/x"]),
        (["m/x"], ["l", "m", "other", "other/x"]),
        (["nothing"], []),
    ],
)
async def test_only_what_a_dockerfile_names_is_told_with_what_its_links_lead_to(
    patterns: list[str], found: list[str]
) -> None:
    files = {"d/one": "1", "d/two": "2", "f": "f", "other/x": "x"}
    entries = await listed(context_tar(files, busybox=False, links={"l": "other", "m": "/l"}))
    assert paths(selected(entries, patterns)) == found


async def test_links_in_a_circle_end() -> None:
    entries = await listed(context_tar({"f": "f"}, busybox=False, links={"a": "b", "b": "a"}))
    assert paths(selected(entries, ["a/x"])) == ["a", "b", "f"]


async def test_small_contexts_and_small_files_are_sent_as_a_stream() -> None:
    small = context_tar({"f": "f"}, busybox=False)
    many = context_tar({f"{n}": "x" for n in range(400)}, busybox=False)
    large = context_tar({"f": "x" * 300_000}, busybox=False)

    for tar, kind in ((small, Upload), (many, Upload), (large, FileSync)):
        async with source(stream(tar), incremental_from=200_000) as found:
            assert isinstance(found.service, kind)
            assert bool(found.url) is (kind is Upload)
            assert bool(found.shared_key) is (kind is FileSync)


async def test_only_the_same_context_shares_what_the_engine_has() -> None:
    keys = []
    for content, folder in (("old", ""), ("new", ""), ("old", "d"), ("old", "")):
        tar = context_tar({"d/f": content * 100_000}, busybox=False)
        async with source(stream(tar), folder=folder, incremental_from=0) as found:
            keys.append(found.shared_key)
    assert len(set(keys)) == 3
    assert keys[0] == keys[3]


async def test_an_error_of_a_large_context_comes_out() -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield context_tar({"f": "f"})
        raise SourceError("git went away")

    with pytest.raises(SourceError, match="git went away"):
        async with source(broken(), incremental_from=0):
            pass


async def test_what_lies_in_the_folder_of_a_context_has_its_path_from_there() -> None:
    entries = await listed(context_tar({"Dockerfile": "f", "in/a/b": "b", "inner/c": "c"}, busybox=False))
    assert paths(inside(entries, "in")) == ["a", "a/b"]
    assert inside(entries, "") == entries


async def test_a_build_begins_while_a_context_with_a_name_is_still_being_read() -> None:
    more = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        await more.wait()
        yield context_tar({"f": "f"})

    async with source(slow(), "a name") as found:
        assert isinstance(found.service, FileSync)
        assert found.shared_key
        assert not more.is_set()


@pytest.mark.parametrize(
    ("context", "error"),
    [([], SourceError), ([special_tar(tarfile.LNKTYPE, link="other")], EngineError)],
)
async def test_why_a_context_with_a_name_was_not_read_is_kept(context: list[bytes], error: type[Exception]) -> None:
    async def broken() -> AsyncIterator[bytes]:
        for piece in context:
            yield piece
        if not context:
            raise SourceError("git went away")

    async with source(broken(), "a name") as found:
        while found.failure is None:  # noqa: ASYNC110 - it is a value, not an event
            await asyncio.sleep(0)
        assert isinstance(found.failure, error)


async def test_reading_ends_with_the_build() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        begun.set()
        try:
            while True:
                yield b"x"
        finally:
            ended.set()

    context = endless()
    async with source(context, "a name"):
        await begun.wait()
    await context.aclose()  # type: ignore[attr-defined]
    assert ended.is_set()
