"""Who hands out requests hears whether what is needed answers."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp.test_utils import make_mocked_request

from lumper.errors import StorageError
from lumper.web.health import Readiness


class Needed:
    """Something that answers, is away, or says nothing."""

    def __init__(self) -> None:
        self.asked = 0
        self.away = False
        self.speaks = asyncio.Event()
        self.speaks.set()

    async def look(self) -> None:
        self.asked += 1
        await self.speaks.wait()
        if self.away:
            raise StorageError


async def ready(readiness: Readiness) -> tuple[int, str]:
    answer = await readiness.show(make_mocked_request("GET", "/readyz"))
    return answer.status, answer.text or ""


async def test_it_is_ready_while_all_that_it_needs_answers() -> None:
    one, other = Needed(), Needed()
    readiness = Readiness({"database": one.look, "storage": other.look}, fresh=0)
    assert await ready(readiness) == (200, "ok")

    other.away = True
    assert await ready(readiness) == (503, "away: storage")
    one.away = True
    assert await ready(readiness) == (503, "away: database, storage")

    one.away = other.away = False
    assert await ready(readiness) == (200, "ok")


async def test_what_says_nothing_is_away_and_is_not_asked_again_meanwhile() -> None:
    needed = Needed()
    needed.speaks.clear()
    readiness = Readiness({"storage": needed.look}, longest=0.01, fresh=0)
    for _ in range(3):
        assert await ready(readiness) == (503, "away: storage")
    assert needed.asked == 1

    needed.speaks.set()
    assert await ready(readiness) == (200, "ok")


@pytest.mark.parametrize("away", [False, True])
async def test_what_was_just_asked_is_not_asked_again(away: bool) -> None:
    needed = Needed()
    needed.away = away
    readiness = Readiness({"storage": needed.look}, fresh=3600)
    first = await ready(readiness)
    needed.away = not away

    assert await ready(readiness) == first
    assert needed.asked == 1
