"""Who reads a log while it is removed, because it is too old or there is too much of them, is told so."""

from __future__ import annotations

from datetime import timedelta

import aiohttp
import pytest

from lumper.model.builds.build import BuildState
from lumper.model.builds.log_keeping import LogLimits
from lumper.roles.log_keeper import LogKeeper
from parts.web.live_pages import LivePages, step_lines

LIMITS = [LogLimits(age=timedelta(microseconds=1)), LogLimits(size=1)]
LINES = 60_000  # more than the connection and its buffers hold


@pytest.fixture
async def build(live: LivePages) -> int:
    """A build that has ended, with a long log."""
    build_id = await live.running(await live.project())
    await live.say(build_id, step_lines(1, "RUN make", [f"line {number} of a long log" for number in range(LINES)]))
    size = await live.history.logs.size(build_id, 1)
    await live.ended(build_id, BuildState.SUCCEEDED, log_size=size)
    return build_id


async def seen(session: aiohttp.ClientSession, path: str) -> str:
    async with session.get(path) as answer:
        return await answer.text()


@pytest.mark.parametrize("limits", LIMITS, ids=["age", "size"])
async def test_who_comes_back_in_the_middle_of_a_log_that_was_removed_is_told(
    live: LivePages, build: int, limits: LogLimits
) -> None:
    async with live.browser() as person:
        assert "event: end" in await seen(person, f"/builds/{build}/log/stream?from=0")
        assert await LogKeeper(live.history, limits).tidy() == 1
        assert await seen(person, f"/builds/{build}/log/stream?from=0") == "retry: 1000\n\nevent: gone\ndata:\n\n"
        assert "is not kept any more" in await seen(person, f"/builds/{build}")
        for path in ("log.txt", "log.txt?raw=1", "log/search?q=line"):
            async with person.get(f"/builds/{build}/{path}") as answer:
                assert (answer.status, "is not kept any more" in await answer.text()) == (404, True)


async def test_who_reads_a_log_in_that_moment_reads_it_to_its_end(live: LivePages, build: int) -> None:
    async with live.browser() as person, person.get(f"/builds/{build}/log/stream?from=0") as answer:
        first = await answer.content.readuntil(b"\n\n") + await answer.content.readuntil(b"\n\n")
        assert b"line 0 " in first
        assert await LogKeeper(live.history, LIMITS[1]).tidy() == 1
        rest = (await answer.content.read()).decode()
        assert (f"line {LINES - 1} " in rest, rest.count("event: end"), rest.count("event: gone")) == (True, 1, 0)


async def test_the_log_of_a_build_that_runs_is_never_removed(live: LivePages) -> None:
    build_id = await live.running(await live.project())
    await live.say(build_id, step_lines(1, "RUN make", ["one"]))
    for limits in LIMITS:
        assert await LogKeeper(live.history, limits).tidy() == 0
    assert await live.history.logs.size(build_id, 1)
