"""What is done inside the transactions of the queue file: functions of a connection and values."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lumper.queue.port import DeadLetter, Message

DELIVERY_LIMIT = 20
_UNANSWERED = f"It was handed out {DELIVERY_LIMIT} times and whoever had it died."


@dataclass(frozen=True)
class Claim:
    """A message in the hands of one holder. `seq`, the holder and `deliveries` together name this handing out."""

    seq: int
    message: Message
    deliveries: int


@dataclass(frozen=True)
class Claims:
    """What was to be had; if nothing, when there may be something: 0 is now, None not until something is published."""

    claims: list[Claim]
    next_at: float | None


def publish(connection: sqlite3.Connection, messages: Sequence[Message]) -> None:
    """Append the messages, but for those whose id waits in the topic or is in somebody's hands."""
    connection.executemany(
        "INSERT INTO message (topic, id, body) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        [(message.topic, message.id, message.body) for message in messages],
    )


def next_at(connection: sqlite3.Connection, topic: str) -> float | None:
    """When a message of the topic can be handed out at the earliest: 0 is now. None if there is none."""
    found: float | None = connection.execute(
        "SELECT min(visible_at) FROM message WHERE topic = ?", (topic,)
    ).fetchone()[0]
    return found


def none_due(connection: sqlite3.Connection, topic: str, now: float) -> Claims | None:
    """What a claim would give, if that is nothing yet; None if a message of the topic can be handed out."""
    at = next_at(connection, topic)
    return Claims([], at) if at is None or at > now else None


def claim(connection: sqlite3.Connection, topic: str, holder: str, *, count: int, now: float, lease: float) -> Claims:
    """Take the oldest messages that are free into the holder's hands, for `lease` seconds unless it renews them."""
    _free_what_is_due(connection, topic, holder, now=now, overdue=now - lease)
    rows = connection.execute(
        "UPDATE message SET holder = ?, visible_at = ?, deliveries = deliveries + 1 WHERE seq IN"
        " (SELECT seq FROM message WHERE topic = ? AND visible_at = 0 ORDER BY seq LIMIT ?)"
        " RETURNING seq, id, body, deliveries",
        (holder, now + lease, topic, count),
    ).fetchall()
    claims = [Claim(seq, Message(id_, topic, body), deliveries) for seq, id_, body, deliveries in sorted(rows)]
    return Claims(claims, None if claims else next_at(connection, topic))


def _free_what_is_due(connection: sqlite3.Connection, topic: str, holder: str, *, now: float, overdue: float) -> None:
    """End the delays and leases that are over.

    What the holder has itself in hand stays there, however late its renewals are, until it is clear that it has
    forgotten it.
    """
    due = "topic = ? AND visible_at > 0 AND visible_at <= ? AND (holder IS NOT ? OR visible_at <= ?)"
    values = (topic, now, holder, overdue)
    _bury(connection, f"{due} AND holder IS NOT NULL AND deliveries >= {DELIVERY_LIMIT}", values, _UNANSWERED)
    connection.execute(f"UPDATE message SET visible_at = 0, holder = NULL WHERE {due}", values)  # noqa: S608 — constants


def ack(connection: sqlite3.Connection, holder: str, claimed: Claim) -> None:
    """Forget the message, if it is still in the holder's hands."""
    connection.execute(
        "DELETE FROM message WHERE seq = ? AND holder = ? AND deliveries = ?", (claimed.seq, holder, claimed.deliveries)
    )


def retry(connection: sqlite3.Connection, holder: str, claimed: Claim, visible_at: float, reason: str) -> None:
    """Hand the message out again from `visible_at` on, if it is still in the holder's hands."""
    connection.execute(
        "UPDATE message SET holder = NULL, visible_at = ?, reason = ? WHERE seq = ? AND holder = ? AND deliveries = ?",
        (visible_at, _storable(reason), claimed.seq, holder, claimed.deliveries),
    )


def dead_letter(connection: sqlite3.Connection, holder: str, claimed: Claim, reason: str) -> None:
    """Put the message aside, if it is still in the holder's hands."""
    values = (claimed.seq, holder, claimed.deliveries)
    _bury(connection, "seq = ? AND holder = ? AND deliveries = ?", values, _storable(reason))


def _bury(connection: sqlite3.Connection, condition: str, values: tuple[object, ...], reason: str) -> None:
    connection.execute(
        "INSERT INTO dead (topic, id, body, reason, deliveries)"  # noqa: S608 — constants
        f" SELECT topic, id, body, ?, deliveries FROM message WHERE {condition} ORDER BY seq",
        (reason, *values),
    )
    connection.execute(f"DELETE FROM message WHERE {condition}", values)  # noqa: S608 — constants


def give_back(connection: sqlite3.Connection, holder: str, handed: Iterable[int], unread: Iterable[int]) -> None:
    """Free messages of the holder by their `seq`. Nobody saw the `unread` ones: they do not count as handed out."""
    for seqs, counted in ((handed, 0), (unread, 1)):
        connection.executemany(
            "UPDATE message SET holder = NULL, visible_at = 0, deliveries = deliveries - ?"
            " WHERE seq = ? AND holder = ?",
            [(counted, seq, holder) for seq in seqs],
        )


def renew(connection: sqlite3.Connection, holder: str, seqs: Iterable[int], until: float) -> None:
    """Prolong the leases of messages that the holder still has in hand."""
    connection.execute(
        "UPDATE message SET visible_at = ? WHERE holder = ? AND seq IN (SELECT value FROM json_each(?))",
        (until, holder, json.dumps(list(seqs))),
    )


def holders(connection: sqlite3.Connection) -> list[str]:
    """Everybody who has messages in hand."""
    return [row[0] for row in connection.execute("SELECT DISTINCT holder FROM message WHERE holder IS NOT NULL")]


def end_leases(connection: sqlite3.Connection, dead_holders: Iterable[str], now: float) -> None:
    """End the leases of holders that died: their messages are due now, and stay so whoever says it again.

    Otherwise a claim whose clock is a moment behind would pass over them and take later messages first.
    """
    connection.executemany(
        "UPDATE message SET visible_at = ? WHERE holder = ? AND visible_at > ?",
        [(now, name, now) for name in dead_holders],
    )


def depth(connection: sqlite3.Connection, topic: str) -> int:
    """How many messages there are: waiting, delayed and in hand."""
    return int(connection.execute("SELECT count(*) FROM message WHERE topic = ?", (topic,)).fetchone()[0])


def dead_letters(connection: sqlite3.Connection, topic: str, limit: int) -> list[DeadLetter]:
    """The oldest dead letters."""
    rows = connection.execute(
        "SELECT id, body, reason, deliveries FROM dead WHERE topic = ? ORDER BY seq LIMIT ?", (topic, limit)
    )
    return [DeadLetter(Message(id_, topic, body), reason, deliveries) for id_, body, reason, deliveries in rows]


def revive(connection: sqlite3.Connection, topic: str) -> int:
    """Publish all dead letters of the topic anew; how many."""
    connection.execute(
        "INSERT INTO message (topic, id, body)"
        " SELECT topic, id, body FROM dead WHERE topic = ? ORDER BY seq ON CONFLICT DO NOTHING",
        (topic,),
    )
    return connection.execute("DELETE FROM dead WHERE topic = ?", (topic,)).rowcount


def version(connection: sqlite3.Connection) -> int:
    """A number that changes when another connection, of whichever process, has committed something."""
    return int(connection.execute("PRAGMA data_version").fetchone()[0])


def _storable(text: str) -> str:
    """Reasons quote what others wrote; half a surrogate pair in it cannot be stored."""
    return text.encode("utf-8", "replace").decode()
