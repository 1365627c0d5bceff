"""The folder of logs: chunks that come twice, in halves or too early."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from lumper.errors import LogGap
from lumper.history.logs import Logs


async def whole(logs: Logs, offset: int = 0) -> bytes:
    return b"".join([chunk async for chunk in logs.read(1, 1, offset)])


async def test_chunks_become_one_log_whatever_comes_twice(tmp_path: Path) -> None:
    logs = Logs(tmp_path)
    await logs.append(1, 1, 0, b"one\n")
    await logs.append(1, 1, 0, b"one\n")
    await logs.append(1, 1, 0, b"one\ntwo\n")
    await logs.append(1, 1, 8, b"three\n")
    assert await whole(logs) == b"one\ntwo\nthree\n"
    assert await whole(logs, 4) == b"two\nthree\n"
    assert logs.size(1, 1) == 14


async def test_a_chunk_that_is_too_early_is_refused_for_now(tmp_path: Path) -> None:
    logs = Logs(tmp_path)
    with pytest.raises(LogGap):
        await logs.append(1, 1, 5, b"two\n")
    assert logs.size(1, 1) == 0


async def test_the_tail_begins_with_a_whole_line(tmp_path: Path) -> None:
    logs = Logs(tmp_path)
    await logs.append(1, 1, 0, b"first line\nsecond\nthird\n")
    assert await logs.tail(1, 1, 10) == b"third\n"
    assert await logs.tail(1, 1, 1000) == b"first line\nsecond\nthird\n"
    assert await logs.tail(2, 1, 1000) == b""


async def test_a_reader_wakes_when_the_log_grows(tmp_path: Path) -> None:
    logs = Logs(tmp_path)
    reader = asyncio.create_task(logs.wait(1, 1, 0, 60.0))
    await asyncio.sleep(0)
    await logs.append(1, 1, 0, b"x\n")
    await asyncio.wait_for(reader, 5)


async def test_the_logs_of_a_build_are_deleted_together(tmp_path: Path) -> None:
    logs = Logs(tmp_path)
    await logs.append(1, 1, 0, b"x\n")
    await logs.append(1, 2, 0, b"x\n")
    await logs.delete(1)
    await logs.delete(1)
    assert list(tmp_path.iterdir()) == []
