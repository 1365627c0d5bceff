"""Logs go by age and by size, the oldest first; never one of a build that has not ended."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from lumper.line.history import History
from lumper.model.builds.log_keeping import LogLimits
from lumper.model.source import Push, Verdict, parse_git_url
from lumper.roles.log_keeper import LogKeeper
from lumper.store.tables import builds, deliveries


@pytest.fixture
async def history(history: History) -> History:
    """Builds 1 to 4: succeeded ten, five and one day ago, and one that runs since twenty days, each with 100 bytes."""
    project = await history.projects.add(parse_git_url("https://git.example.org/owner/app.git"))
    for number, (state, days) in enumerate([("succeeded", 10), ("failed", 5), ("cancelled", 1), ("running", 20)], 1):
        async with history.database.write() as connection:
            await history.builds.queue(connection, project, Push("owner/app", f"refs/tags/v{number}", f"{number}" * 40))
            ended = datetime.now(UTC) - timedelta(days=days)
            values = {"state": state, "attempt": 1, "finished_at": ended, "log_size": 100}
            await connection.execute(update(builds).where(builds.c.id == number).values(**values))
        await history.logs.append(number, 1, 0, b"x" * 99 + b"\n")
    return history


@pytest.mark.parametrize(
    ("limits", "left"),
    [
        (LogLimits(), [1, 2, 3, 4]),
        (LogLimits(age=timedelta(days=7)), [2, 3, 4]),
        (LogLimits(size=250), [3, 4]),
        (LogLimits(age=timedelta(days=7), size=400), [2, 3, 4]),
        (LogLimits(size=1), [4]),
    ],
)
async def test_what_is_too_old_or_too_much_goes(history: History, limits: LogLimits, left: list[int]) -> None:
    assert await LogKeeper(history, limits).tidy() == 4 - len(left)
    assert sorted(await history.logs.sizes()) == left


@pytest.mark.parametrize("limits", [LogLimits(age=timedelta(days=7)), LogLimits(size=150)])
async def test_what_is_left_of_a_project_that_is_gone_goes_before_anything_else(
    history: History, limits: LogLimits
) -> None:
    other = await history.projects.add(parse_git_url("https://git.example.org/owner/other.git"))
    async with history.database.write() as connection:
        mine = builds.c.id == 3
        await connection.execute(update(builds).where(mine).values(project_id=other.id))
    [gone] = [project for project in await history.projects.all() if project.id != other.id]
    await history.projects.remove(gone.id)
    await LogKeeper(history, limits).tidy()
    assert sorted(await history.logs.sizes()) == [3]


async def test_old_deliveries_lose_what_is_large_and_are_known_for_ever(history: History) -> None:
    project = (await history.projects.all())[0]
    for number, days in enumerate((10, 1)):
        async with history.database.write() as connection:
            await history.deliveries.add(
                connection, project_id=project.id, forge="github", delivery_id=f"d{number}", event="push",
                headers={"a": "b"}, body=b"{}", verdict=Verdict.BUILD, reason="",
            )  # fmt: skip
            came = datetime.now(UTC) - timedelta(days=days)
            mine = deliveries.c.delivery_id == f"d{number}"
            await connection.execute(update(deliveries).where(mine).values(received_at=came))
    assert await LogKeeper(history, LogLimits(deliveries=timedelta(days=7))).tidy() == 0
    newest, oldest = await history.deliveries.newest()
    assert ((await history.deliveries.get(newest.id)).body, (await history.deliveries.get(oldest.id)).body) == (
        b"{}",
        b"",
    )
    assert (await history.deliveries.get(oldest.id)).headers == {}
    async with history.database.read() as connection:
        assert await history.deliveries.known(connection, project.id, "github", "d0")
