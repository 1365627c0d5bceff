"""Many small writes at the same time become one transaction: the disk is waited for once, not once for each."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

_T = TypeVar("_T")
_MOST = 256  # items of one write
_PATIENCE = 0.001  # seconds


class Batching(Generic[_T]):
    """Hands items to `write`, all that came while it was busy with the ones before in one call.

    Who is alone does not wait for others.
    """

    def __init__(
        self, write: Callable[[Sequence[_T]], Awaitable[None]], more: Callable[[int], bool] = lambda _: False
    ) -> None:
        """`more` tells, when so many items wait, whether others are about to come: they get a millisecond to do so."""
        self._write = write
        self._more = more
        self._waiting: list[tuple[_T, asyncio.Future[None]]] = []
        self._running: asyncio.Task[None] | None = None

    async def add(self, item: _T) -> None:
        """Returns when the item is written; raises what `write` raised for the group that it was in.

        An item whose caller is cancelled may be written all the same.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, done))
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        await done

    async def _run(self) -> None:
        try:
            while self._waiting:
                if self._more(len(self._waiting)):
                    await asyncio.sleep(_PATIENCE)
                group, self._waiting = self._waiting[:_MOST], self._waiting[_MOST:]
                failure: BaseException | None = None
                try:
                    await self._write([item for item, _ in group])
                except Exception as exc:  # noqa: BLE001 - it is raised where the items came from
                    failure = exc
                for _, done in group:
                    if done.done():
                        continue
                    if failure is None:
                        done.set_result(None)
                    else:
                        done.set_exception(failure)
                await asyncio.sleep(0)  # they go on, and are not about to come any more
        finally:
            self._running = None
            for _, done in self._waiting:  # only if this task was cancelled
                done.cancel()
            self._waiting = []
