from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from lumper.system.batching import Batching


async def test_what_comes_while_a_write_goes_on_is_written_together() -> None:
    groups: list[list[int]] = []
    began, go_on = asyncio.Event(), asyncio.Event()

    async def write(items: Sequence[int]) -> None:
        groups.append(list(items))
        began.set()
        await go_on.wait()

    grouped = Batching(write)
    first = asyncio.create_task(grouped.add(1))
    await began.wait()
    others = [asyncio.create_task(grouped.add(number)) for number in (2, 3, 4)]
    await asyncio.sleep(0)
    go_on.set()
    await asyncio.gather(first, *others)
    assert groups == [[1], [2, 3, 4]]


@pytest.mark.parametrize(("most", "groups"), [(2, [[1, 2]]), (1, [[1], [2]])])
async def test_those_who_are_about_to_come_are_waited_for(most: int, groups: list[list[int]]) -> None:
    written: list[list[int]] = []
    asked = asyncio.Event()

    async def write(items: Sequence[int]) -> None:
        written.append(list(items))

    def more(waiting: int) -> bool:
        asked.set()
        return waiting < most

    grouped = Batching(write, more)
    first = asyncio.create_task(grouped.add(1))
    await asked.wait()
    await grouped.add(2)
    await first
    assert written == groups


async def test_nobody_is_told_that_it_is_written_before_it_is() -> None:
    written = False

    async def write(_: Sequence[int]) -> None:
        nonlocal written
        await asyncio.sleep(0)
        written = True

    await Batching(write).add(1)
    assert written


async def test_a_failure_is_raised_to_those_who_were_in_the_group_and_the_next_one_is_tried() -> None:
    async def write(items: Sequence[int]) -> None:
        if 1 in items:
            raise OSError("no")

    grouped = Batching(write)
    results = await asyncio.gather(grouped.add(1), grouped.add(1), return_exceptions=True)
    assert [type(result) for result in results] == [OSError, OSError]
    await grouped.add(2)


async def test_a_cancelled_caller_takes_nobody_else_along() -> None:
    go_on = asyncio.Event()
    groups: list[list[int]] = []

    async def write(items: Sequence[int]) -> None:
        await go_on.wait()
        groups.append(list(items))

    grouped = Batching(write)
    tasks = [asyncio.create_task(grouped.add(number)) for number in (1, 2)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await tasks[0]
    go_on.set()
    await tasks[1]
    assert groups == [[1, 2]]
