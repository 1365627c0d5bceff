"""The port that every channel implements."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True)
class Attachment:
    """A file beside the message."""

    name: str
    content_type: str
    data: bytes


@dataclass(frozen=True)
class Message:
    """What people are told. `id` is the same for the same event, so that a second delivery shows once.

    Addresses are plain (`a@b`), without names; none contains a line break or a comma.
    """

    id: str
    to: tuple[str, ...]
    subject: str
    text: str
    html: str
    date: datetime
    attachments: tuple[Attachment, ...] = ()


class Channel(Protocol):
    """A way to people."""

    async def send(self, message: Message) -> None:
        """Hand the message over; on return somebody else answers for it.

        Raises ChannelUnavailable (try again later) or MessageRefused (never will be taken).
        """

    async def close(self) -> None:
        """Close connections. Idempotent."""
