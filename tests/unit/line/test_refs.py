"""A ref that moves there and back, and deliveries of it in any order: what is built last is what the ref has."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from lumper.line.history import History
from lumper.model import events
from lumper.model.builds.build import Build, BuildState
from lumper.model.source import Person, Project, Push, parse_git_url
from lumper.queue.codec import decode

NONE, A, B, C = ("0" * 40, "a" * 40, "b" * 40, "c" * 40)
ANN, BEN = Person("ann", "ann@example.org"), Person("ben", "ben@example.org")


def push(before: str, after: str, who: Person = ANN) -> Push:
    return Push("owner/app", "refs/tags/v1.0.0", after, before, pusher=who)


@pytest.fixture
async def history(history: History) -> History:
    await history.builds.online(events.WorkerOnline("w", "boot", 100))
    return history


class Desk:
    """What the tests do and see."""

    def __init__(self, history: History, project: Project) -> None:
        self.history = history
        self.project = project

    async def queue(self, *pushes: Push) -> list[tuple[int, bool]]:
        found = []
        for one in pushes:
            async with self.history.database.write() as connection:
                found.append(await self.history.builds.queue(connection, self.project, one))
        return found

    async def begin(self, build_id: int, attempt: int = 1) -> None:
        claim = events.AttemptStarted(build_id, attempt, "c1", "w", "boot", datetime.now(UTC))
        assert await self.history.builds.take(claim)

    async def end(self, build_id: int) -> None:
        if (build := await self.build(build_id)).state is BuildState.QUEUED:
            await self.begin(build_id, build.attempt)
        async with self.history.database.write() as connection:
            await self.history.builds.end(connection, build_id, BuildState.SUCCEEDED)

    async def states(self) -> list[tuple[BuildState, int]]:
        """State and attempt of each build, the oldest first."""
        return [(one.state, one.attempt) for one in reversed(await self.history.builds.newest())]

    async def build(self, build_id: int) -> Build:
        return await self.history.builds.get(build_id)

    async def jobs(self) -> list[tuple[str, int]]:
        """Commit and attempt of each job that was handed out."""
        payloads = [decode(each.body) for each in await self.history.outbox.pending()]
        return [(one.commit, one.attempt) for one in payloads if isinstance(one, events.BuildJob)]


@pytest.fixture
def desk(history: History, project: Project) -> Desk:
    return Desk(history, project)


QUEUED, CANCELLED, SUCCEEDED = BuildState.QUEUED, BuildState.CANCELLED, BuildState.SUCCEEDED


async def test_a_tag_that_is_moved_back_is_built_again_for_who_moved_it(desk: Desk) -> None:
    for one in (push(NONE, A), push(A, B)):
        [(build_id, new)] = await desk.queue(one)
        assert new
        await desk.end(build_id)
    assert await desk.queue(push(B, A, BEN)) == [(1, True)]
    assert await desk.states() == [(QUEUED, 2), (SUCCEEDED, 1)]
    build = await desk.build(1)
    assert (build.pusher, build.cause) == (BEN, "The ref was moved back to this commit.")
    assert (await desk.jobs())[-1] == (A, 2)
    assert await desk.queue(push(B, A, BEN)) == [(1, False)], "the same told twice"


async def test_what_the_ref_has_left_again_is_ended(desk: Desk) -> None:
    await desk.queue(push(NONE, A))
    await desk.end(1)
    assert await desk.queue(push(A, B), push(B, A)) == [(2, True), (1, True)]
    assert await desk.states() == [(QUEUED, 2), (CANCELLED, 1)]
    assert await desk.queue(push(A, B)) == [(2, True)]
    assert await desk.states() == [(CANCELLED, 2), (QUEUED, 2)]


async def test_a_build_that_was_told_to_stop_and_has_not_is_wanted_again(desk: Desk) -> None:
    await desk.queue(push(NONE, A))
    await desk.begin(1)
    await desk.queue(push(A, B), push(B, A))
    assert [state for state, _ in await desk.states()] == [BuildState.RUNNING, CANCELLED]
    async with desk.history.database.write() as connection:  # its worker has heard the word to stop
        row = await desk.history.builds.row(connection, 1)
        assert row is not None
        assert not row.cancel_requested
        await desk.history.builds.lost(connection, row)
    assert await desk.states() == [(QUEUED, 2), (CANCELLED, 1)]


async def test_the_making_of_a_tag_that_is_told_late_does_not_take_the_place_of_its_move(desk: Desk) -> None:
    assert await desk.queue(push(A, B)) == [(1, True)]
    assert await desk.queue(push(NONE, A)) == [(1, False)]
    assert await desk.states() == [(QUEUED, 1)]


@pytest.mark.parametrize("again", [push(NONE, B), push(A, B), push("", B), push(C, B)])
async def test_what_is_told_twice_is_built_once(desk: Desk, again: Push) -> None:
    assert await desk.queue(push(NONE, A), push(A, B), again, again) == [(1, True), (2, True), (2, False), (2, False)]


async def test_an_old_push_that_is_told_again_changes_nothing(desk: Desk) -> None:
    await desk.queue(push(NONE, A), push(A, B))
    assert await desk.queue(push(NONE, A), push(C, A)) == [(2, False), (1, False)]
    assert await desk.states() == [(CANCELLED, 1), (QUEUED, 1)]


async def test_other_refs_and_projects_go_on(desk: Desk, history: History) -> None:
    other = await history.projects.add(parse_git_url("https://git.example.org/owner/other.git"))
    branch = replace(push(NONE, A), ref="refs/heads/main")
    await desk.queue(push(NONE, A), branch)
    async with history.database.write() as connection:
        await history.builds.queue(connection, other, push(NONE, A))
    await desk.queue(push(A, B), push(B, A))
    assert [state for state, _ in await desk.states()] == [QUEUED, QUEUED, QUEUED, CANCELLED]
