"""The queue file on disks that are full, missing, read-only or wrong; and what it costs while nothing happens."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lumper.errors import QueueError, QueueUnavailable
from lumper.queue.brokers import sqlite_work as work
from lumper.queue.brokers.sqlite import SqliteBroker
from lumper.queue.brokers.sqlite_file import QueueFile
from lumper.queue.port import Message
from parts.disks.small_disk import filled, small_disk

pytestmark = pytest.mark.system


@pytest.fixture
def full_soon(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    with small_disk(tmp_path / "small", "1m") as place:
        yield place


async def test_a_full_disk_is_told_and_what_was_stored_is_still_there(full_soon: Path) -> None:
    broker = SqliteBroker(full_soon / "queue.db")
    stored = 0
    with pytest.raises(QueueUnavailable, match="disk is full") as refused:
        for _ in range(1000):
            await broker.publish([Message(str(stored), "topic", os.urandom(20_000))])
            stored += 1
    assert "Free some space" in refused.value.sentence
    assert stored > 0
    assert await broker.depth("topic") == stored
    await broker.close()


async def test_it_goes_on_when_there_is_space_again(full_soon: Path) -> None:
    broker = SqliteBroker(full_soon / "queue.db")
    await broker.publish([Message("first", "topic", b"")])
    with filled(full_soon), pytest.raises(QueueUnavailable, match="disk is full"):
        await broker.publish([Message("second", "topic", bytes(200_000))])
    await broker.publish([Message("second", "topic", bytes(200_000))])
    async with broker.consume("topic", prefetch=2) as deliveries, asyncio.timeout(60):
        assert [(await anext(deliveries)).message.id for _ in range(2)] == ["first", "second"]
    await broker.close()


async def test_a_file_that_finds_no_room_to_be_opened_says_so(full_soon: Path) -> None:
    broker = SqliteBroker(full_soon / "queue.db")
    await broker.publish([Message("first", "topic", b"")])
    await broker.close()
    again = SqliteBroker(full_soon / "queue.db")
    with filled(full_soon), pytest.raises(QueueUnavailable, match="disk is full"):
        await again.publish([Message("second", "topic", b"")])
    assert await again.depth("topic") == 1
    await again.close()


async def test_that_nobody_can_say_here_who_consumes_is_no_full_disk(tmp_path: Path) -> None:
    (tmp_path / "queue.db-holders").write_text("no folder")
    broker = SqliteBroker(tmp_path / "queue.db")
    with pytest.raises(QueueUnavailable, match="holders cannot be used") as refused:
        async with broker.consume("topic"):
            raise AssertionError("subscribed to nothing")
    assert "space" not in refused.value.hint
    await broker.close()


async def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    broker = SqliteBroker(tmp_path / "nowhere" / "queue.db")
    with pytest.raises(QueueUnavailable, match=f"no folder {tmp_path / 'nowhere'}"):
        await broker.publish([Message("one", "topic", b"")])
    with pytest.raises(QueueUnavailable, match="nowhere"):
        async with broker.consume("topic"):
            raise AssertionError("subscribed to nothing")
    await broker.close()


async def test_nobody_waits_for_ever_for_a_mistake_within_a_transaction(tmp_path: Path) -> None:
    file = QueueFile(tmp_path / "queue.db")

    def mistaken(_: object) -> None:
        raise KeyError("a mistake")

    async with asyncio.timeout(60):
        answers = await asyncio.gather(*(file.write(each) for each in (work.version, mistaken)), return_exceptions=True)
        assert isinstance(answers[0], int)
        assert isinstance(answers[1], QueueUnavailable)
        assert isinstance(await file.write(work.version), int)
        await file.close()


async def test_a_file_that_is_no_queue_is_refused_and_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "queue.db"
    file.write_bytes(b"certainly not a database\n" * 100)
    broker = SqliteBroker(file)
    with pytest.raises(QueueError, match="damaged or is no queue") as refused:
        await broker.publish([Message("one", "topic", b"")])
    assert not refused.value.temporary
    assert file.read_bytes().startswith(b"certainly")
    await broker.close()


async def test_one_message_that_cannot_be_stored_does_not_harm_others_of_that_moment(tmp_path: Path) -> None:
    broker = SqliteBroker(tmp_path / "queue.db")
    results = await asyncio.gather(
        broker.publish([Message("one", "topic", b"")]),
        broker.publish([Message("half a character: \ud800", "topic", b"")]),
        broker.publish([Message("two", "topic", b"")]),
        return_exceptions=True,
    )
    assert results[0] is None
    assert isinstance(results[1], QueueError)
    assert results[2] is None
    assert await broker.depth("topic") == 2
    await broker.close()


async def test_a_publish_waits_for_another_process_that_writes(tmp_path: Path) -> None:
    broker = SqliteBroker(tmp_path / "queue.db")
    await broker.publish([Message("one", "topic", b"")])
    other = sqlite3.connect(tmp_path / "queue.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    publishing = asyncio.create_task(broker.publish([Message("two", "topic", b"")]))
    done, _ = await asyncio.wait([publishing], timeout=0.2)
    assert not done
    other.execute("ROLLBACK")
    other.close()
    await publishing
    assert await broker.depth("topic") == 2
    await broker.close()


async def test_waiting_costs_next_to_nothing(tmp_path: Path) -> None:
    broker = SqliteBroker(tmp_path / "queue.db")
    async with broker.consume("a") as a, broker.consume("b") as b:
        waiting = [asyncio.ensure_future(anext(each)) for each in (a, b)]
        began = time.process_time()
        await asyncio.wait(waiting, timeout=2)
        used = time.process_time() - began
        for each in waiting:
            each.cancel()
        await asyncio.wait(waiting)
    assert used < 0.1  # 5 % of the time waited, on a machine that is busy with other tests
    await broker.close()


async def later_than(folder: Path) -> None:
    """Wait until a file that is written to gets another time than until now: those have steps of some milliseconds."""
    file = folder / "clock"
    file.touch()
    begun = file.stat().st_mtime_ns
    while file.stat().st_mtime_ns == begun:
        await asyncio.sleep(0.001)
        file.touch()


async def test_the_file_is_seen_to_be_written_to_without_a_look_into_it(tmp_path: Path) -> None:
    ours, others = QueueFile(tmp_path / "queue.db"), QueueFile(tmp_path / "queue.db")
    for file in (ours, others):
        before = ours.written()
        await later_than(tmp_path)
        await file.write(lambda connection: work.publish(connection, [Message(str(before), "topic", b"")]))  # noqa: B023
        assert ours.written() != before
    assert ours.written() == others.written()
    await ours.close()
    await others.close()


async def test_nothing_is_left_of_a_holder_that_ended_in_order(tmp_path: Path) -> None:
    broker = SqliteBroker(tmp_path / "queue.db")
    async with broker.consume("topic"):
        assert len(list((tmp_path / "queue.db-holders").iterdir())) == 1
    await broker.close()
    assert list((tmp_path / "queue.db-holders").iterdir()) == []
