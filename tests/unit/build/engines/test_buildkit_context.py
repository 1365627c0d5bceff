from __future__ import annotations

import io
import stat
import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing

import pytest

from lumper.build.context.selection import select
from lumper.build.engines.buildkit.session.context import source
from lumper.build.engines.buildkit.session.filesync import FileSync
from lumper.build.engines.buildkit.session.session import Upload
from lumper.build.engines.buildkit.session.spool import Spool, open_spool
from lumper.errors import SourceError
from parts.disks.held_files import HeldFiles
from parts.engines.context import context_tar, stream


@asynccontextmanager
async def spooled(tar: bytes) -> AsyncIterator[Spool]:
    with closing(open_spool()) as spool:
        await spool.fill([], stream(tar, 700))
        yield spool


def special_tar(kind: bytes, name: str = "special", link: str = "") -> bytes:
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        entry = tarfile.TarInfo(name)
        entry.type, entry.linkname = kind, link
        archive.addfile(entry)
    return tar.getvalue()


async def test_a_spool_gives_every_file_with_its_bytes() -> None:
    tar = context_tar({"src/a/b.txt": "b", "a.txt": "a" * 300_000, "e": ""}, busybox=False, links={"l": "a.txt"})
    async with spooled(tar) as spool:
        files = spool.files("")
        assert files is not None
        found = await select(files, []) or {}
        pieces = [piece async for piece in files.read(["src/a/b.txt", "a.txt", "e"])]

    assert list(found) == ["a.txt", "e", "l", "src", "src/a", "src/a/b.txt"]
    assert pieces[:2] == [b"b", b""]
    assert b"".join(pieces[2:]) == b"a" * 300_000
    assert [len(piece) for piece in pieces[2:]] == [256 * 1024, 300_000 - 256 * 1024, 0, 0]
    assert found["src"].mode == stat.S_IFDIR | 0o755
    assert (found["l"].mode, found["l"].link, found["l"].size) == (stat.S_IFLNK | 0o777, "a.txt", 5)
    assert (found["a.txt"].mode, found["a.txt"].size) == (stat.S_IFREG | 0o644, 300_000)


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
        assert spool.files("") is None


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


async def test_of_files_that_can_be_had_one_by_one_no_stream_is_read() -> None:
    read = []

    async def noted() -> AsyncIterator[bytes]:
        read.append("the stream")
        yield b""

    async with source(noted(), HeldFiles({"f": "f"}, key="a name"), incremental_from=0) as found:
        assert isinstance(found.service, FileSync)
        assert found.shared_key
        assert found.failure is None
    assert read == []
