"""What was committed is published: after outages, in order, at least once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from lumper.errors import StorageError
from lumper.line.outbox import Outbox, Pending
from lumper.model.events import CancelBuild
from lumper.queue.brokers.memory import MemoryBroker
from lumper.queue.codec import encode
from lumper.roles.relay import relay
from lumper.store.database import Database
from parts.line.running import listening, running
from parts.suite.eventually import eventually


class ForgetfulOutbox(Outbox):
    """An outbox whose database fails once, just after a publish was confirmed."""

    fails = 0

    async def forget(self, ids: Sequence[int]) -> None:
        if self.fails:
            self.fails -= 1
            raise StorageError("The database refused: disk I/O error.")
        await super().forget(ids)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = Database(f"sqlite:///{tmp_path / 'lumper.db'}")
    await opened.migrate()
    yield opened
    await opened.close()


@pytest.fixture
def outbox(database: Database) -> ForgetfulOutbox:
    return ForgetfulOutbox(database, encode)


async def add(database: Database, outbox: Outbox, *numbers: int) -> None:
    async with database.write() as connection:
        for number in numbers:
            await outbox.add(connection, "t", CancelBuild(number, 1))


async def nothing_pending(outbox: Outbox) -> bool:
    return not await outbox.pending()


async def test_messages_come_in_the_order_in_which_they_were_committed(database: Database, outbox: Outbox) -> None:
    broker = MemoryBroker()
    async with listening(broker, "t") as ear, running(relay(outbox, broker)):
        await add(database, outbox, *range(250))
        heard = await ear.until(CancelBuild, 250)
        await eventually(lambda: nothing_pending(outbox))
    assert [each.build_id for each in heard] == list(range(250))


async def test_a_commit_is_published_at_once(database: Database, outbox: Outbox) -> None:
    broker = MemoryBroker()
    async with listening(broker, "t") as ear, running(relay(outbox, broker)):
        await add(database, outbox, 1)
        await ear.until(CancelBuild)
        await add(database, outbox, 2)
        await ear.until(CancelBuild, 2)


async def test_what_an_earlier_life_left_is_published_and_does_not_slow_what_comes(
    database: Database, outbox: Outbox
) -> None:
    await add(database, outbox, 1, 2, 3)
    broker, later = MemoryBroker(), Outbox(database, encode)
    async with listening(broker, "t") as ear, running(relay(later, broker)):
        await ear.until(CancelBuild, 3)
        await add(database, later, 4)
        await ear.until(CancelBuild, 4)


async def test_messages_wait_while_the_queue_is_away_and_none_is_lost(database: Database, outbox: Outbox) -> None:
    broker = MemoryBroker()
    broker.interrupt()
    async with running(relay(outbox, broker)):
        await add(database, outbox, 1, 2)
        await asyncio.sleep(0)
        assert [each.topic for each in await outbox.pending()] == ["t", "t"]
        broker.resume()
        await eventually(lambda: nothing_pending(outbox))
    assert await broker.depth("t") == 2


async def test_a_publish_that_was_not_forgotten_is_repeated_with_the_same_id(
    database: Database, outbox: ForgetfulOutbox
) -> None:
    broker = MemoryBroker()
    outbox.fails = 1
    await add(database, outbox, 1)
    [pending] = await outbox.pending()
    async with running(relay(outbox, broker)):
        assert (await broker.take("t")).message.id == pending.message_id
        await eventually(lambda: nothing_pending(outbox))
    assert outbox.fails == 0
    assert await broker.depth("t") == 1  # the one in hand: the second publish was known by its id


async def test_a_pending_message_names_what_it_is(database: Database, outbox: Outbox) -> None:
    await add(database, outbox, 7)
    [pending] = await outbox.pending()
    assert pending == Pending(pending.id, pending.message_id, "t", encode(CancelBuild(7, 1)))
