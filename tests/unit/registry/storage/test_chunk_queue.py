"""How bytes get into an upload's file: in chunks whose size is a matter of how many uploads there are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from lumper.registry.storage.chunk_queue import ChunkQueue, room_for_belts

KIB, MIB = 1 << 10, 1 << 20


class File:
    """Remembers what is written, and may refuse to write."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.refuses = False

    def write(self, parts: list[bytes]) -> None:
        if self.refuses:
            raise OSError("refused")
        self.written.append(b"".join(parts))


async def in_thread(call: Callable[[], None]) -> None:
    await asyncio.to_thread(call)


@pytest.mark.parametrize(
    ("belts", "share"), [(0, 6 * MIB), (1, 6 * MIB), (2, 3 * MIB), (8, 768 * KIB), (32, 192 * KIB), (1000, 16 * KIB)]
)
def test_what_all_uploads_hold_together_is_bounded(belts: int, share: int) -> None:
    room = room_for_belts(6 * MIB)
    with ExitStack() as stack:
        for _ in range(belts):
            stack.enter_context(room.taken())
        assert room.share == share
    assert room.share == 6 * MIB


@pytest.mark.parametrize("size", [1, 100, 16 * KIB, 40_000, 300_000])
async def test_all_bytes_arrive_in_their_order_with_many_uploads_at_the_same_time(size: int) -> None:
    room = room_for_belts(MIB)
    pieces = [bytes([number]) * size for number in range(200)]

    async def push(file: File) -> None:
        with room.taken():
            belt = ChunkQueue(file, in_thread, room)  # type: ignore[arg-type]
            for piece in pieces:
                await belt.put(piece)
            await belt.finish()

    files = [File() for _ in range(12)]
    async with asyncio.timeout(60):
        await asyncio.gather(*map(push, files))
    assert all(b"".join(file.written) == b"".join(pieces) for file in files)


async def test_after_a_failure_nothing_more_is_written() -> None:
    file, room = File(), room_for_belts(MIB)
    file.refuses = True
    belt = ChunkQueue(file, in_thread, room)  # type: ignore[arg-type]
    with room.taken():
        with pytest.raises(OSError, match="refused"):
            for _ in range(100):
                await belt.put(bytes(MIB))
        file.refuses = False
        with pytest.raises(OSError, match="refused"):
            await belt.finish()
    assert file.written == []
