"""A topic of a test's own, and what comes on it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator

import pytest

from lumper.queue.port import Delivery

SOON = 60.0  # seconds within which what must happen happens, on a busy machine too


@pytest.fixture
def topic() -> str:
    return f"test-{secrets.token_hex(6)}"


async def following(deliveries: AsyncIterator[Delivery]) -> Delivery:
    """The next delivery, which must come soon."""
    async with asyncio.timeout(SOON):
        return await anext(deliveries)
