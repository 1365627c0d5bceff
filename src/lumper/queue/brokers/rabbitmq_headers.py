"""What travels in the headers of a message in RabbitMQ, and how it is read again."""

from __future__ import annotations

from aio_pika.abc import AbstractIncomingMessage

from lumper.queue.brokers.rabbitmq_topology import DELIVERY_LIMIT
from lumper.queue.port import DeadLetter, Message

ID = "lumper-id"
DELIVERIES = "lumper-deliveries"  # before this publishing; the broker counts those after it
RETRIED = "lumper-retried-because"
REASON = "lumper-reason"
_UNANSWERED = f"It was handed out {DELIVERY_LIMIT} times and whoever had it died."


def message_from(topic: str, incoming: AbstractIncomingMessage) -> Message:
    """The message that came."""
    return Message(str(incoming.headers.get(ID) or incoming.message_id or ""), topic, incoming.body)


def dead_letter_from(topic: str, incoming: AbstractIncomingMessage) -> DeadLetter:
    """What was given up, with the reason."""
    reason = incoming.headers.get(REASON)
    if reason is None:  # the broker itself put it here
        return DeadLetter(message_from(topic, incoming), _UNANSWERED, number_in(incoming, DELIVERIES) + DELIVERY_LIMIT)
    return DeadLetter(message_from(topic, incoming), str(reason), number_in(incoming, DELIVERIES))


def number_in(incoming: AbstractIncomingMessage, header: str) -> int:
    """The number in a header, 0 without one."""
    value = incoming.headers.get(header)
    return value if isinstance(value, int) else 0


def storable(text: str) -> str:
    """Reasons quote what others wrote; half a surrogate pair in it cannot be sent."""
    return text.encode("utf-8", "replace").decode()
