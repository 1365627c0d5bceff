"""Where the bytes of uploads to a bucket are until S3 has them."""

from __future__ import annotations

import asyncio
import hashlib
import os
from pathlib import Path

import pytest

from lumper.errors import StorageFull
from lumper.registry.storage.s3.buffers import Buffers
from lumper.registry.storage.s3.tail import Tail

MIB = 1 << 20


@pytest.mark.parametrize("size", [0, 1, 64 << 10, (64 << 10) + 1, 3 * MIB + 7])
def test_a_tail_gives_back_what_was_added_and_begins_anew(tmp_path: Path, size: int) -> None:
    tail, content = Tail(tmp_path), os.urandom(size)
    for _ in range(2):
        tail.add([content[: size // 2], memoryview(content)[size // 2 :]])
        room = bytearray(size + 3)
        assert tail.read_into(memoryview(room)) == len(tail) == size
        assert room[:size] == content
        hashed = hashlib.sha256(content[: size // 3])
        tail.hash_into(hashed, size // 3)
        assert hashed.digest() == hashlib.sha256(content).digest()
        tail.clear()
        assert len(tail) == 0
    assert list(tmp_path.iterdir()) == []


def test_a_tail_says_that_the_disk_is_full(tmp_path: Path) -> None:
    tail = Tail(tmp_path)
    with Path("/dev/full").open("wb+", buffering=0) as full:
        tail._file = full  # type: ignore[assignment]
        with pytest.raises(StorageFull, match="way to S3"):
            tail.add([b"y"])
    assert len(tail) == 0


async def test_buffers_are_few_used_again_and_given_back() -> None:
    buffers = Buffers(2, 16)
    first, second = await buffers.acquire(), await buffers.acquire()
    third = asyncio.ensure_future(buffers.acquire())
    await asyncio.sleep(0)
    assert not third.done()
    buffers.release(first)
    assert await third is first
    buffers.release(first)
    buffers.release(second)
    async with buffers.taken() as again:
        assert again is not first
        assert again is not second


async def test_a_buffer_is_not_used_again_after_a_failure_for_somebody_may_still_fill_it() -> None:
    buffers = Buffers(2, 16)
    other = await buffers.acquire()
    failed: list[bytearray] = []

    async def use() -> None:
        async with buffers.taken() as buffer:
            failed.append(buffer)
            await asyncio.Event().wait()

    using = asyncio.ensure_future(use())
    await asyncio.sleep(0)
    using.cancel()
    await asyncio.gather(using, return_exceptions=True)
    assert await buffers.acquire() is not failed[0]
    buffers.release(other)
    assert await buffers.acquire() is other
