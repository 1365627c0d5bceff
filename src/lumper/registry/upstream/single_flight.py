"""One call for all that ask for the same thing at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Generic, TypeVar

_T = TypeVar("_T")


class SingleFlight(Generic[_T]):
    """Calls by their keys. A call goes on when those who asked have gone, and is forgotten when it is done."""

    def __init__(self) -> None:
        self._calls: dict[Hashable, asyncio.Task[_T]] = {}

    async def __call__(self, key: Hashable, call: Callable[[], Coroutine[None, None, _T]]) -> _T:
        """What the call gives or raises: the one that is under way, or else this one."""
        task = self._calls.get(key)
        if task is None:
            task = self._calls[key] = asyncio.create_task(call())
            task.add_done_callback(lambda done: self._done(key, done))
        return await asyncio.shield(task)

    def _done(self, key: Hashable, task: asyncio.Task[_T]) -> None:
        del self._calls[key]
        if not task.cancelled():
            task.exception()  # it was told to those who waited, if there were any

    async def close(self) -> None:
        """Cancel what is under way, and wait for its end."""
        calls = list(self._calls.values())
        for task in calls:
            task.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
