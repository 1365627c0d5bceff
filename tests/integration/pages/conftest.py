"""Pages for one test, and somebody who has signed in there. Files that need other ones have their own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from parts.registries.page_images import Put
from parts.web.live_pages import LivePages, live_pages


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[LivePages]:
    async with live_pages(tmp_path) as pages:
        yield pages


@pytest.fixture
async def person(live: LivePages) -> AsyncIterator[aiohttp.ClientSession]:
    async with live.browser() as session:
        yield session


@pytest.fixture
def shop(live: LivePages) -> Put:
    return live.put("acme/shop")
