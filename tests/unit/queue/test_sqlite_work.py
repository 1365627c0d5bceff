from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from lumper.queue.brokers import sqlite_work as work
from lumper.queue.brokers.sqlite_file import SCHEMA
from lumper.queue.brokers.sqlite_holder import Holder
from lumper.queue.port import Message

LEASE = 30.0


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    made = sqlite3.connect(":memory:")
    made.executescript(SCHEMA)
    yield made
    made.close()


def publish(connection: sqlite3.Connection, *ids: str) -> None:
    work.publish(connection, [Message(id_, "topic", b"") for id_ in ids])


def claim(connection: sqlite3.Connection, holder: str, now: float, count: int = 10) -> list[work.Claim]:
    return work.claim(connection, "topic", holder, count=count, now=now, lease=LEASE).claims


def test_another_holder_gets_a_message_only_when_its_lease_is_over(connection: sqlite3.Connection) -> None:
    publish(connection, "one")
    claim(connection, "first", now=100)
    assert claim(connection, "second", now=129) == []
    (again,) = claim(connection, "second", now=130)
    assert again.deliveries == 2


def test_a_claim_that_gets_nothing_tells_when_there_may_be_something(connection: sqlite3.Connection) -> None:
    assert work.none_due(connection, "topic", 100) == work.Claims([], None)
    publish(connection, "one")
    assert work.none_due(connection, "topic", 100) is None
    claim(connection, "first", now=100)
    assert work.none_due(connection, "topic", 129) == work.Claims([], 130)
    assert work.claim(connection, "topic", "first", count=1, now=135, lease=LEASE) == work.Claims([], 130)


def test_a_renewed_lease_goes_on(connection: sqlite3.Connection) -> None:
    publish(connection, "one")
    (held,) = claim(connection, "first", now=100)
    work.renew(connection, "first", [held.seq], until=150)
    assert claim(connection, "second", now=140) == []


def test_nobody_renews_what_another_holds(connection: sqlite3.Connection) -> None:
    publish(connection, "one")
    (held,) = claim(connection, "first", now=100)
    work.renew(connection, "second", [held.seq], until=1000)
    assert len(claim(connection, "second", now=130)) == 1


def test_a_holder_that_renews_late_does_not_get_its_own_message_twice(connection: sqlite3.Connection) -> None:
    publish(connection, "one")
    claim(connection, "first", now=100)
    assert claim(connection, "first", now=135) == []
    assert len(claim(connection, "first", now=160)) == 1


def test_the_dead_are_succeeded_at_once(connection: sqlite3.Connection) -> None:
    publish(connection, "one")
    claim(connection, "first", now=100)
    assert work.holders(connection) == ["first"]
    work.end_leases(connection, ["first"], now=101)
    assert len(claim(connection, "second", now=101)) == 1


def test_what_a_dead_holder_had_keeps_its_place_even_if_its_death_is_noticed_twice(
    connection: sqlite3.Connection,
) -> None:
    publish(connection, "one")
    claim(connection, "first", now=100)
    publish(connection, "two")
    work.end_leases(connection, ["first"], now=101)
    work.end_leases(connection, ["first"], now=102)
    assert [claimed.message.id for claimed in claim(connection, "second", now=101.5)] == ["one", "two"]


def test_an_answer_counts_for_its_own_handing_out_only(connection: sqlite3.Connection) -> None:
    publish(connection, "one")
    (late,) = claim(connection, "first", now=100)
    claim(connection, "second", now=130)
    (again,) = claim(connection, "first", now=160)
    work.ack(connection, "first", late)
    work.dead_letter(connection, "first", late, "too late")
    work.retry(connection, "first", late, 0, "too late")
    assert work.depth(connection, "topic") == 1
    work.ack(connection, "first", again)
    assert work.depth(connection, "topic") == 0


def test_a_message_whose_holders_keep_dying_is_put_aside(connection: sqlite3.Connection) -> None:
    publish(connection, "poison", "good")
    now = 100.0
    for _ in range(work.DELIVERY_LIMIT):
        assert len(claim(connection, f"holder at {now}", now, count=1)) == 1
        now += LEASE
    (good,) = claim(connection, "last", now)
    assert good.message.id == "good"
    (letter,) = work.dead_letters(connection, "topic", 10)
    assert (letter.message.id, letter.deliveries) == ("poison", work.DELIVERY_LIMIT)
    assert str(work.DELIVERY_LIMIT) in letter.reason


def test_messages_given_back_unseen_do_not_count_as_handed_out(connection: sqlite3.Connection) -> None:
    publish(connection, "seen", "unseen")
    seen, unseen = claim(connection, "first", now=100)
    work.give_back(connection, "first", [seen.seq], [unseen.seq])
    assert [(again.message.id, again.deliveries) for again in claim(connection, "second", now=100)] == [
        ("seen", 2),
        ("unseen", 1),
    ]


def test_it_is_known_when_the_next_message_is_due(connection: sqlite3.Connection) -> None:
    assert work.next_at(connection, "topic") is None
    publish(connection, "one")
    assert work.next_at(connection, "topic") == 0
    (held,) = claim(connection, "first", now=100)
    assert work.next_at(connection, "topic") == 130
    work.retry(connection, "first", held, 115.5, "later")
    assert work.next_at(connection, "topic") == 115.5


def test_claims_use_the_index_however_many_wait_or_are_delayed(connection: sqlite3.Connection) -> None:
    plan = connection.execute(
        "EXPLAIN QUERY PLAN SELECT seq FROM message WHERE topic = ? AND visible_at = 0 ORDER BY seq LIMIT ?", ("t", 1)
    ).fetchall()
    text = " ".join(row[3] for row in plan)
    assert "message_next" in text
    assert "TEMP B-TREE" not in text


def test_a_holder_is_alive_until_it_ends(tmp_path: Path) -> None:
    one, other = Holder(tmp_path / "queue.db"), Holder(tmp_path / "queue.db")
    one.begin()
    one.begin()
    assert other.is_alive(one.name)
    assert other.is_alive(one.name)
    one.end()
    one.end()
    assert not other.is_alive(one.name)


def test_a_holder_without_a_lock_is_dead_and_can_be_forgotten(tmp_path: Path) -> None:
    one = Holder(tmp_path / "queue.db")
    one.begin()
    left_behind = tmp_path / "queue.db-holders" / "0123456789abcdef"
    left_behind.touch()
    assert not one.is_alive(left_behind.name)
    one.forget(left_behind.name)
    assert not left_behind.exists()
    one.end()
