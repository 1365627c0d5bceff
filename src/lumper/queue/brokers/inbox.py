"""What the iterator of a subscription waits on, the same for every broker."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Generic, Self, TypeVar

from lumper.errors import QueueError

DeliveryT = TypeVar("DeliveryT")


class Inbox(Generic[DeliveryT]):
    """Deliveries in order, until an error ends the subscription.

    Cancelling a waiting `__anext__` loses nothing: the next one gets the delivery.
    """

    def __init__(self) -> None:
        self._unread: deque[DeliveryT] = deque()
        self._failure: QueueError | None = None
        self._changed = asyncio.Event()

    @property
    def unread(self) -> tuple[DeliveryT, ...]:
        """What nobody has taken out yet."""
        return tuple(self._unread)

    def put(self, delivery: DeliveryT) -> None:
        """Hand a delivery to whoever iterates."""
        self._unread.append(delivery)
        self._changed.set()

    def fail(self, error: QueueError) -> None:
        """End the subscription: from now on iterating raises `error`. The first error stays."""
        self._failure = self._failure or error
        self._changed.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> DeliveryT:
        while True:
            if self._failure is not None:
                raise self._failure
            if self._unread:
                return self._unread.popleft()
            self._changed.clear()
            await self._changed.wait()
