"""The queues that Lumper has at RabbitMQ, by name and arguments.

    lumper.<topic>            quorum queue; what is handed out too often without an answer goes to …
    lumper.<topic>.dead       … what was put aside; also published to directly, with the reason
    lumper-delay.<ms>         for all topics: messages whose delay is in (ms/2, ms]; an exchange of the same name
                              leads there, so that the routing key stays that of the topic's queue, to which the
                              broker moves a message when its time to live is over
    lumper-delay.<ms>.personal   the same for personal topics

A queue lets go of expired messages only at its head, so that a long delay would hold up the shorter ones behind it.
Delays of one queue differ by a factor of two at most: a message comes in time if it is alone, and after twice its delay
at the latest. The queues come into being when they are first needed; there are fifteen at most, whatever the topics.

Before RabbitMQ 4.0, a node that is killed within half a second after a queue was made for the first time forgets that
queue and what is in it (https://github.com/rabbitmq/ra/pull/443).
https://www.rabbitmq.com/docs/quorum-queues · https://www.rabbitmq.com/docs/ttl · https://www.rabbitmq.com/docs/dlx
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from lumper.errors import QueueError
from lumper.model.events import worker_topic

DELIVERY_LIMIT = 20
LONGEST_DELAY = 4096.0  # seconds
_SHORTEST_DELAY = 0.25
_NO_LIMIT = 2**31 - 1  # from version 4 on, a quorum queue without a limit has one of 20
_LONGEST_NAME = 200  # bytes; AMQP allows 255 for a whole queue name

Arguments = dict[str, str | int]


@dataclass(frozen=True)
class Queue:
    """A queue to be declared. With `exchange`, a fanout exchange of the same name leads to it."""

    name: str
    arguments: Arguments
    exchange: bool = False


def topic_queue(topic: str, personal_expiry: float) -> Queue:
    """The queue of a topic. One that belongs to one worker vanishes `personal_expiry` seconds after its last use."""
    arguments = _moving_to("", at_least_once=True) | {
        "x-delivery-limit": DELIVERY_LIMIT,
        "x-dead-letter-routing-key": _name(topic) + ".dead",
    }
    return Queue(_name(topic), arguments | _expiry(topic, personal_expiry))


def dead_queue(topic: str, personal_expiry: float) -> Queue:
    """Where the dead letters of a topic are; one of a single process goes after `personal_expiry` seconds unused."""
    arguments: Arguments = {"x-queue-type": "quorum", "x-delivery-limit": _NO_LIMIT}
    return Queue(_name(topic) + ".dead", arguments | _expiry(topic, personal_expiry))


def delay_queue(topic: str, delay: float) -> Queue:
    """Where a message of the topic waits for `delay` seconds.

    Messages of a personal topic wait apart: its queue may be gone when they are due, and then they are dropped, where
    others stay until their queue is there again.
    """
    step = _SHORTEST_DELAY * 2 ** max(0, math.ceil(math.log2(min(delay, LONGEST_DELAY) / _SHORTEST_DELAY)))
    personal = is_personal(topic)
    name = f"lumper-delay.{round(step * 1000)}" + (".personal" if personal else "")
    return Queue(name, _moving_to("", at_least_once=not personal), exchange=True)


def is_personal(topic: str) -> bool:
    """Whether the topic is that of one worker alone."""
    return topic.startswith(worker_topic(""))


def _moving_to(exchange: str, *, at_least_once: bool) -> Arguments:
    arguments: Arguments = {"x-queue-type": "quorum", "x-dead-letter-exchange": exchange}
    if at_least_once:
        arguments |= {"x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish"}
    return arguments


def _expiry(topic: str, seconds: float) -> Arguments:
    return {"x-expires": round(seconds * 1000)} if is_personal(topic) else {}


def _name(topic: str) -> str:
    if not topic or topic.endswith(".dead") or len(topic.encode("utf-8", "replace")) > _LONGEST_NAME:
        raise QueueError(f"{topic!r} cannot be the name of a topic at RabbitMQ.")
    return f"lumper.{topic}"
