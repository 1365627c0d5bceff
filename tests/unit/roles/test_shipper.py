"""A build's log on its way to the server: whole, in order, with little memory, whatever the queue does."""

from __future__ import annotations

import asyncio
import tracemalloc
from pathlib import Path

import pytest

from lumper.errors import StorageError, StorageFull
from lumper.model.builds.build import Output
from lumper.model.builds.log import LARGEST_CHUNK, to_line, unpack
from lumper.model.events import EVENTS, LogChunk
from lumper.queue.brokers.memory import MemoryBroker
from lumper.roles.shipper import LogShipper, take_left
from parts.line.running import Ear, listening
from parts.suite.eventually import eventually
from parts.suite.pace import takes_less_than

CLAIM = (7, 2, "claim")


def line(number: int, text: str = "cc -c main.c -o main.o") -> Output:
    return Output(1, 1, 1732440000.0, f"{number} {text}")


def text_of(chunk: LogChunk) -> str:
    return unpack(chunk.data).decode()


def whole(ear: Ear) -> str:
    """The log as the server puts it together, from chunks that must follow each other without a gap."""
    log = ""
    for chunk in ear.of(LogChunk):
        assert (chunk.build_id, chunk.attempt, chunk.claim) == CLAIM
        assert chunk.offset == len(log)
        log += text_of(chunk)
    return log


async def test_lines_arrive_in_order_and_the_spool_is_empty_afterwards(tmp_path: Path) -> None:
    broker = MemoryBroker()
    async with listening(broker, EVENTS) as ear:
        async with LogShipper(broker, tmp_path, *CLAIM) as shipper:
            for number in range(10):
                shipper.report(line(number, "äöü \x1b[2J\0 <b>"))
        await ear.until_true(lambda: sum(len(text_of(chunk)) for chunk in ear.of(LogChunk)) == shipper.size)
    assert whole(ear) == "".join(to_line(line(number, "äöü \x1b[2J\0 <b>")) for number in range(10))
    assert list(tmp_path.iterdir()) == []


async def test_a_line_is_seen_while_the_build_runs(tmp_path: Path) -> None:
    broker = MemoryBroker()
    async with listening(broker, EVENTS) as ear, LogShipper(broker, tmp_path, *CLAIM) as shipper:
        shipper.report(line(1))
        await ear.until(LogChunk, 1)
        shipper.report(line(2))
        await ear.until(LogChunk, 2)
        assert whole(ear) == to_line(line(1)) + to_line(line(2))


async def test_a_hundred_thousand_lines_arrive_in_chunks(tmp_path: Path) -> None:
    broker = MemoryBroker()
    with takes_less_than(20):
        async with listening(broker, EVENTS) as ear:
            async with LogShipper(broker, tmp_path, *CLAIM) as shipper:
                for number in range(100_000):
                    shipper.report(line(number))
                    if number % 1000 == 0:
                        await asyncio.sleep(0)
            await ear.until_true(lambda: sum(len(text_of(chunk)) for chunk in ear.of(LogChunk)) == shipper.size)
    log = whole(ear)
    assert log.count("\n") == 100_000
    assert log.endswith(to_line(line(99_999)))
    assert len(ear.of(LogChunk)) < 200
    assert max(len(text_of(chunk)) for chunk in ear.of(LogChunk)) <= LARGEST_CHUNK


async def test_one_line_may_be_longer_than_a_chunk(tmp_path: Path) -> None:
    broker = MemoryBroker()
    async with listening(broker, EVENTS) as ear:
        async with LogShipper(broker, tmp_path, *CLAIM) as shipper:
            shipper.report(line(1, "x" * 1_000_000))
        await ear.until_true(lambda: sum(len(text_of(chunk)) for chunk in ear.of(LogChunk)) == shipper.size)
    assert whole(ear) == to_line(line(1, "x" * 1_000_000))


async def test_memory_stays_flat_while_the_queue_is_away_and_nothing_is_lost(tmp_path: Path) -> None:
    broker = MemoryBroker()
    async with LogShipper(broker, tmp_path, *CLAIM) as shipper:
        broker.interrupt()
        tracemalloc.start()
        try:
            for number in range(50_000):
                shipper.report(line(number, "x" * 200))
                if number % 100 == 0:
                    await asyncio.sleep(0)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        broker.resume()
    assert shipper.size > 10_000_000
    assert peak < 2_000_000
    async with listening(broker, EVENTS) as ear:
        await ear.until_true(lambda: sum(len(text_of(chunk)) for chunk in ear.of(LogChunk)) == shipper.size)
    assert whole(ear).count("\n") == 50_000


async def test_a_role_that_ends_does_not_wait_for_a_queue_that_is_away(tmp_path: Path) -> None:
    broker = MemoryBroker()

    async def build() -> None:
        async with LogShipper(broker, tmp_path, *CLAIM) as shipper:
            broker.interrupt()
            shipper.report(line(1))
            await asyncio.Event().wait()

    async def spooled() -> bool:
        return any(path.stat().st_size for path in tmp_path.iterdir())

    task = asyncio.create_task(build())
    await eventually(spooled)
    task.cancel()
    async with asyncio.timeout(60):
        await asyncio.wait([task])
    assert task.cancelled()
    assert list(tmp_path.iterdir()) == []


async def test_a_full_disk_is_told_and_what_was_kept_before_still_goes(tmp_path: Path) -> None:
    broker = MemoryBroker()
    (tmp_path / "7-2-claim.jsonl").symlink_to("/dev/full")
    async with LogShipper(broker, tmp_path, *CLAIM) as shipper:
        with pytest.raises(StorageFull, match="no space left on the worker"):
            for number in range(10_000):
                shipper.report(line(number))
    assert isinstance(shipper.failure, StorageFull)
    assert shipper.size == 0


async def test_a_spool_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="No such file or directory"):
        LogShipper(MemoryBroker(), tmp_path / "gone", *CLAIM)


async def test_what_a_killed_worker_left_is_taken_and_what_another_one_works_on_is_not(tmp_path: Path) -> None:
    (tmp_path / "7-2-0123abcd.jsonl").write_text("{}")
    (tmp_path / "notes.jsonl").write_text("no log of a build")
    async with LogShipper(MemoryBroker(), tmp_path, 8, 1, "c1"):
        assert take_left(tmp_path) == {(7, 2)}
        assert [path.name for path in tmp_path.iterdir()] == ["8-1-c1.jsonl"]
    assert take_left(tmp_path) == set()
