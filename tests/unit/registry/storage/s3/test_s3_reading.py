"""Objects that are read by fewer streams than there are readers, with obstore's own store in memory."""

from __future__ import annotations

import asyncio
import os

import obstore
import pytest
from obstore.store import MemoryStore

from lumper.registry.storage.s3.reading import Reading

MIB = 1 << 20
DATA = os.urandom(MIB)
SHORT, LONG = 0.01, 3600.0  # seconds of patience


async def reading(data: bytes = DATA, *, patience: float = LONG) -> Reading:
    """Of one stream, over a store with an object."""
    store = MemoryStore()
    await obstore.put_async(store, "key", data)
    return Reading(store, streams=1, patience=patience)


async def all_of(source: Reading, start: int, end: int) -> bytes:
    return b"".join([piece async for piece in source.read("key", start, end)])


@pytest.mark.parametrize(("start", "end"), [(0, MIB), (1, 2), (0, 1), (MIB - 1, MIB), (70_000, 700_001)])
async def test_what_is_asked_for_comes(start: int, end: int) -> None:
    assert await all_of(await reading(), start, end) == DATA[start:end]


async def test_an_object_that_is_shorter_ends_what_is_read_of_it() -> None:
    assert await all_of(await reading(), 5, 2 * MIB) == DATA[5:]


async def test_an_object_that_is_not_there_leaves_its_place_to_others() -> None:
    source = await reading()
    with pytest.raises(FileNotFoundError):
        await anext(source.read("other", 0, 1))
    assert await all_of(source, 0, MIB) == DATA


async def test_who_stops_lends_the_stream_to_others_and_goes_on_where_it_was() -> None:
    source = await reading(patience=SHORT)
    stopped = source.read("key", 0, MIB)
    came = await anext(stopped)
    assert await all_of(source, 0, MIB) == DATA  # waits until the place is free
    async for piece in stopped:
        came += piece
        assert await all_of(source, 9, 10) == DATA[9:10]
    assert came == DATA


async def test_who_is_quick_lets_others_have_a_turn() -> None:
    data = DATA * 20
    source = await reading(data)
    quick, came = source.read("key", 0, len(data)), 0
    came += len(await anext(quick))
    waiting = asyncio.create_task(all_of(source, 0, 9))
    await asyncio.sleep(0)  # it asks for the place
    async for piece in quick:
        came += len(piece)
        if waiting.done():
            break
    assert waiting.result() == data[:9]
    assert came < len(data)
    assert came + sum([len(piece) async for piece in quick]) == len(data)


async def test_who_goes_away_leaves_the_place() -> None:
    source = await reading()
    gone = source.read("key", 0, MIB)
    await anext(gone)
    await gone.aclose()
    assert await all_of(source, 0, MIB) == DATA
