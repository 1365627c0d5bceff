"""What only one of several servers does at a time."""

from __future__ import annotations

import asyncio

from lumper.roles.base import Part
from lumper.store.database import Database

_PAUSE_SECONDS = 1.0  # how long nothing is done after the one that did it is gone


async def lead(database: Database, name: str, part: Part) -> None:
    """Run `part`, which does not end, as long as no other process does so; for ever.

    When the database was away, all try again: for a moment two may be at it. Raises StorageError.
    """
    while True:
        lost = database.loss
        async with database.alone(name) as mine:
            if mine:
                await _until(lost, part)
        await asyncio.sleep(_PAUSE_SECONDS)


async def _until(lost: asyncio.Event, part: Part) -> None:
    working, waiting = asyncio.ensure_future(part()), asyncio.ensure_future(lost.wait())
    try:
        done, _ = await asyncio.wait((working, waiting), return_when=asyncio.FIRST_COMPLETED)
        if working in done:
            working.result()
    finally:
        working.cancel()
        waiting.cancel()
        await asyncio.gather(working, waiting, return_exceptions=True)
