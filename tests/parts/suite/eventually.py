"""Waiting for something that other programs do."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

Found = TypeVar("Found")

LONGEST = 60.0
"""Seconds within which what must happen happens, also on a slow machine that stands still for a while."""


async def eventually(look: Callable[[], Awaitable[Found]], seconds: float = LONGEST) -> Found:
    """What `look` returns as soon as that is true. Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while not (found := await look()):  # noqa: ASYNC110 - other programs set no event
            await asyncio.sleep(0.02)
    return found
