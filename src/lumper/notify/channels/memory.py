"""Messages kept in a list, for tests."""

from __future__ import annotations

from lumper.notify.mime import from_mail, to_mail
from lumper.notify.port import Mail, Message


class MemoryChannel:
    """Takes what the other channels take; a message that comes twice is there once."""

    def __init__(self, *, sender: str = "lumper@localhost") -> None:
        self._sender = sender
        self._mails: dict[str, bytes] = {}

    async def send(self, message: Message) -> None:
        """Keep the message. Raises MessageRefused."""
        self._mails[message.id] = to_mail(message, self._sender)

    async def list_messages(self, limit: int = 100) -> list[Mail]:
        """The newest mails, the newest first, without bodies."""
        mails = [from_mail(key, data, headers_only=True) for key, data in self._mails.items()]
        return sorted(mails, key=lambda mail: mail.date, reverse=True)[: max(limit, 0)]

    async def read_message(self, key: str) -> Mail | None:
        """A mail whole, or None."""
        return from_mail(key, self._mails[key]) if key in self._mails else None

    async def close(self) -> None:
        """Nothing is held."""
