"""Where the bytes of uploads to a bucket are until S3 has them."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from lumper.errors import StorageFull
from lumper.registry.storage.s3.tail import Headed, Tail
from parts.disks.small_disk import small_disk

MIB = 1 << 20


@pytest.mark.parametrize("size", [0, 1, 64 << 10, (64 << 10) + 1, 3 * MIB + 7])
def test_a_tail_gives_back_what_was_added_with_its_hash_and_alone_or_behind_a_head(tmp_path: Path, size: int) -> None:
    tail, content = Tail(tmp_path), os.urandom(size)
    tail.add([content[: size // 2], memoryview(content)[size // 2 :]])

    for body, expected in ((tail, content), (Headed(b"head", tail), b"head" + content)):
        assert len(body) == len(expected)
        assert body.read(0, size + 9) == expected
        assert b"".join(body.read(start, MIB) for start in range(0, len(body), MIB)) == expected
        assert body.read(2, 3) == expected[2:5]
        assert body.sha256() == hashlib.sha256(expected).hexdigest()
    hashed = hashlib.sha512()
    tail.hash_into(hashed)
    assert hashed.digest() == hashlib.sha512(content).digest()
    assert len(tail.another()) == 0
    tail.read(0, 1)
    tail.add([b"more"])
    assert tail.read(0, size + 9) == content + b"more"
    assert list(tmp_path.iterdir()) == []


def test_a_tail_says_that_the_disk_is_full(tmp_path: Path) -> None:
    tail = Tail(tmp_path)
    with Path("/dev/full").open("wb+", buffering=0) as full:
        tail._file = full  # type: ignore[assignment]
        with pytest.raises(StorageFull, match="way to S3"):
            tail.add([b"y" * MIB])


@pytest.mark.parametrize("size", [1_000, 100_000])  # less and more than is written at once
def test_a_tail_that_had_no_room_is_closed_all_the_same(size: int, tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", "128k") as disk:
        tail = Tail(disk)
        with pytest.raises(StorageFull, match="way to S3"):
            for _ in range(MIB // size):
                tail.add([bytes(size)])
        tail.close()
        another = tail.another()
        another.add([bytes(100_000)])  # the room is there again
        another.close()
