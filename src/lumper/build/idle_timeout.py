"""Ending what says nothing any more: a program that waits for input, or for a server that never answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

from lumper.build.port import Report
from lumper.build.recipe.asked import span
from lumper.errors import BuildTimeout
from lumper.model.builds.build import Progress


class Listener:
    """Passes records on, and remembers when the last one came."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._heard = time.monotonic()

    def report(self, record: Progress) -> None:
        """Pass a record on."""
        self._heard = time.monotonic()
        self._report(record)

    async def attend(self, work: Coroutine[Any, Any, None], limit: float) -> None:
        """Await `work`; end it when nothing was reported for `limit` seconds, 0 for never. Raises BuildTimeout."""
        self._heard = time.monotonic()
        task = asyncio.create_task(work)
        try:
            while not task.done():
                left = self._heard + limit - time.monotonic() if limit else None
                if left is not None and left <= 0:
                    raise _silent(limit)
                await asyncio.wait((task,), timeout=left)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        task.result()


def _silent(limit: float) -> BuildTimeout:
    return BuildTimeout(
        f"The build printed nothing for {span(limit)}.",
        hint="Does a step wait for input? Else raise silence_timeout, that of lumper.toml or the worker's.",
    )
