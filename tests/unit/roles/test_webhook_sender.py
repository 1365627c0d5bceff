"""The teller: what it promises of order, of another try, and of what was given up."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update

from lumper.accounts.activity import record
from lumper.errors import NotFound
from lumper.model.images.activity import Activity, Actor, AuditAction
from lumper.model.images.webhook import ACTIONS, CallState, Format, Webhook
from lumper.notify.channels.webhook import WebhookCaller
from lumper.queue.retry import RetryPolicy
from lumper.registry.catalog.images import ImageHistory
from lumper.registry.catalog.webhooks import Webhooks
from lumper.roles.webhook_sender import WebhookSender
from lumper.store.database import Database
from lumper.store.sealing import Sealer
from lumper.store.tables import webhook_calls, webhooks
from parts.line.running import running
from parts.servers.receiver import Receiver, receiver
from parts.suite.eventually import eventually

QUICK = RetryPolicy(attempts=3, first=0.01, factor=1.0, longest=0.01)
PATIENT = RetryPolicy(attempts=1000, first=0.01, factor=1.0, longest=0.01)


class House:
    """A database with an activity log, and what the tellers on it have said of their calls."""

    def __init__(self, database: Database, key: Path) -> None:
        self.database = database
        self.webhooks = Webhooks(database, ImageHistory(database), Sealer(key))
        self.outcomes: list[str] = []

    async def happens(self, tag: str, repository: str = "team/app", action: AuditAction = AuditAction.TAG) -> None:
        done = [Activity(datetime.now(UTC), action, Actor("ann", "user"), repository, tag, "sha256:" + "a" * 64)]
        async with self.database.write() as connection:
            await connection.run_sync(record, done)

    async def tells(
        self, here: Receiver, actions: tuple[AuditAction, ...] = ACTIONS, repositories: str = "**"
    ) -> Webhook:
        return await self.webhooks.add(here.url, "s3cret", actions, repositories, Format.LUMPER, private=True)

    def teller(self, policy: RetryPolicy = QUICK) -> WebhookSender:
        caller = WebhookCaller()
        told = self.outcomes.append
        return WebhookSender(self.webhooks, caller, "http://registry", told, policy, look_seconds=0.02)

    async def states(self, number: int) -> list[str]:
        return [call.state.value for call in reversed(await self.webhooks.calls(number))]


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    database = Database(f"sqlite:///{tmp_path / 'x.db'}")
    await database.migrate()
    try:
        yield House(database, tmp_path / "key")
    finally:
        await database.close()


@asynccontextmanager
async def telling(house: House, policy: RetryPolicy = QUICK) -> AsyncIterator[None]:
    async with running(house.teller(policy).run()):
        yield


async def test_what_happened_before_and_what_is_not_wanted_is_not_told(house: House) -> None:
    async with receiver() as here, telling(house):
        await house.happens("before")
        webhook = await house.tells(here, (AuditAction.TAG,), "team/*")
        await house.happens("1", action=AuditAction.PUSH)
        await house.happens("2", "other/app")
        await house.happens("3")
        (got,) = await here.until(1)
        assert got.event["tag"] == "3"
        await eventually(lambda: _all_delivered(house, webhook))
        assert [one.path for one in here.got] == ["/hook"]


async def test_events_of_a_repository_come_in_order_and_others_do_not_wait_for_them(house: House) -> None:
    async with receiver() as here:
        refused = ["1"]
        here.answer = lambda got: 500 if got.event["tag"] in refused else 200
        await house.tells(here)
        for tag in ("1", "2", "3"):
            await house.happens(tag)
        await house.happens("x", "team/other")
        async with telling(house, PATIENT):
            await here.until(6)
            assert {got.event["tag"] for got in here.got} == {"1", "x"}
            refused.clear()
            await eventually(lambda: _told(here, "3"))
        taken = [got.event["tag"] for got in here.got if got.event["repository"] == "team/app"]
        assert taken == ["1"] * taken.count("1") + ["2", "3"]
        ids = {got.event["id"] for got in here.got if got.event["tag"] == "1"}
        assert len(ids) == 1


async def _told(here: Receiver, tag: str) -> bool:
    return any(got.event["tag"] == tag for got in here.got)


async def test_what_is_given_up_can_be_seen_and_tried_again(house: House) -> None:
    async with receiver() as here:
        here.answer = lambda got: 503 if got.event["tag"] == "1" else 200
        webhook = await house.tells(here)
        await house.happens("1")
        await house.happens("2")
        async with telling(house):
            await eventually(lambda: _outcomes(house, 4))
            (dead,) = await house.webhooks.calls(webhook.id, state=CallState.DEAD)
            assert (dead.tries, dead.error, dead.event["tag"]) == (3, "The receiver answered 503.", "1")
            assert house.outcomes == ["failed", "failed", "dead", "delivered"]
            assert await house.webhooks.counts() == {
                CallState.WAITING: 0, CallState.DELIVERED: 1, CallState.DEAD: 1,
            }  # fmt: skip
            here.answer = lambda _: 200
            before = len(here.got)
            assert await house.webhooks.revive(webhook.id) == 1
            again = (await here.until(before + 1))[-1]
            assert again.event["tag"] == "1"
            await eventually(lambda: _all_delivered(house, webhook))


async def _outcomes(house: House, count: int) -> bool:
    return len(house.outcomes) >= count


async def _all_delivered(house: House, webhook: Webhook) -> bool:
    return set(await house.states(webhook.id)) == {"delivered"}


async def test_a_teller_that_was_cut_off_begins_with_what_was_not_taken(house: House) -> None:
    async with receiver() as here:
        here.gate.clear()
        webhook = await house.tells(here)
        await house.happens("1")
        async with telling(house):
            await here.until(1)
        assert await house.states(webhook.id) == ["waiting"]
        here.gate.set()
        async with telling(house):
            await here.until(2)
            await eventually(lambda: _all_delivered(house, webhook))
        assert [got.event for got in here.got] == [here.got[0].event] * 2


@pytest.mark.parametrize("shared", [False, True])
async def test_all_that_has_happened_is_told_at_once_and_looked_at_once(
    house: House, monkeypatch: pytest.MonkeyPatch, *, shared: bool
) -> None:
    monkeypatch.setattr(Database, "shared", property(lambda _: shared))
    async with receiver() as here:
        webhook = await house.tells(here)
        done = [Activity(datetime.now(UTC), AuditAction.TAG, Actor(), "team/app", str(tag)) for tag in range(450)]
        async with house.database.write() as connection:
            await connection.run_sync(record, done)
        await house.webhooks.spread()
        assert len(await house.webhooks.calls(webhook.id, limit=1000)) == 450
        async with house.database.read() as connection:
            assert (await connection.execute(select(webhooks.c.seen))).scalar_one() == 450


async def test_what_was_delivered_long_ago_is_forgotten_and_what_was_not_is_kept(house: House) -> None:
    async with receiver() as here:
        webhook = await house.tells(here)
        await house.happens("1")
        await house.happens("2", "team/other")
        await house.webhooks.spread()
        first, _ = await house.webhooks.due(webhook.id, 10)
        await house.webhooks.delivered(first)
        old = datetime.now(UTC) - timedelta(days=8)
        async with house.database.write() as connection:
            await connection.execute(update(webhook_calls).values(created_at=old))
        await house.webhooks.forget_delivered()
        assert await house.states(webhook.id) == ["waiting"]


async def test_a_webhook_that_is_removed_takes_its_calls_along(house: House) -> None:
    async with receiver() as here:
        webhook = await house.tells(here)
        await house.happens("1")
        await house.webhooks.spread()
        await house.webhooks.remove(webhook.id)
        assert await house.webhooks.due(webhook.id, 10) == []
        for gone in (house.webhooks.remove(webhook.id), house.webhooks.ping(webhook.id, Actor("ann", "admin")),
                     house.webhooks.revive(webhook.id), house.webhooks.calls(webhook.id)):  # fmt: skip
            with pytest.raises(NotFound):
                await gone


async def test_a_ping_is_a_call_like_others(house: House) -> None:
    async with receiver() as here, telling(house):
        webhook = await house.tells(here)
        await house.webhooks.ping(webhook.id, Actor("ann", "admin"))
        await house.webhooks.ping(webhook.id, Actor("ann", "admin"))
        await here.until(2)
        assert {got.headers["Lumper-Event"] for got in here.got} == {"ping"}


async def test_many_events_are_told_once_each(house: House) -> None:
    async with receiver() as here, telling(house):
        webhook = await house.tells(here)
        done = [
            Activity(
                datetime.now(UTC), AuditAction.TAG, Actor(), f"team/app{number % 50}", str(number), "sha256:" + "a" * 64
            )
            for number in range(250)
        ]
        async with house.database.write() as connection:
            await connection.run_sync(record, done)
        await house.webhooks.ping(webhook.id, Actor("wake"))
        await here.until(251)
        tags = [got.event["tag"] for got in here.got if got.event["action"] == "tag"]
        assert sorted(tags, key=int) == [str(number) for number in range(250)]


async def test_a_receiver_that_does_not_answer_holds_up_nobody_else(house: House) -> None:
    async with receiver() as stuck, receiver() as here, telling(house):
        stuck.gate.clear()
        await house.tells(stuck)
        await house.tells(here)
        for tag in ("1", "2", "3"):
            await house.happens(tag)
        await here.until(3)
        assert [got.event["tag"] for got in stuck.got] == ["1"]
