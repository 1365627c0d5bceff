"""The port that every channel implements, and the one by which mails that landed in a folder are read."""

from __future__ import annotations

from collections.abc import Mapping
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


class Caller(Protocol):
    """A way to other programs. `call` may run many times at once."""

    async def call(self, url: str, body: bytes, headers: Mapping[str, str], *, private: bool) -> None:
        """POST the body; on return the receiver has taken it.

        Without `private` only addresses of the internet are called. Raises ChannelUnavailable.
        """

    async def close(self) -> None:
        """Close connections. Idempotent."""


@dataclass(frozen=True)
class Mail:
    """A mail that lies in a folder. `key` names it there; a listing leaves text, html and attachments empty.

    `html` comes from outside: a page shows it in a sandboxed frame only.
    """

    key: str
    subject: str
    to: tuple[str, ...]
    date: datetime
    text: str = ""
    html: str = ""
    attachments: tuple[Attachment, ...] = ()


class MailReader(Protocol):
    """The mails that lie in a folder because no server took them."""

    async def list_messages(self, limit: int = 100) -> list[Mail]:
        """The newest mails, the newest first. Raises NotifyError."""

    async def read_message(self, key: str) -> Mail | None:
        """A mail whole, or None. Raises NotifyError."""
