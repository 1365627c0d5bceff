"""Bytes as a client sends them."""

from __future__ import annotations

from collections.abc import AsyncIterator


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    """A body that comes in these parts."""
    for part in parts:
        yield part
