"""Every change of a build's state is in the table of moves, whatever happens to builds in whatever order."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, replace

import pytest
from sqlalchemy import text, update

from lumper.errors import Conflict, OutOfTurn
from lumper.model.builds.build import BuildState, Outcome, Part, Result
from lumper.model.builds.lease import MOST_LOST
from lumper.model.events import WorkerOnline
from lumper.store.tables import builds as builds_table
from parts.line.desk import FAILURE, NOW, Desk, digest, finished, started, success

RESULTS = [
    success(1),
    FAILURE,
    replace(FAILURE, temporary=True),
    Result(Outcome.CANCELLED),
    Result(Outcome.SKIPPED, error="Skipped by its commit."),
    Result(Outcome.SPLIT, parts=(Part("one", ""), Part("two", "two"))),
]
LEGAL = {(source.value, state.value) for state in BuildState for source in state.sources}


@dataclass
class Life:
    """Builds to which anything happens, in an order that the seed makes."""

    desk: Desk
    random: random.Random
    boots: int = 0

    async def step(self) -> None:
        """One thing happens to one build."""
        builds = await self.desk.history.builds.newest()
        build = self.random.choice(builds)
        event = self.random.randrange(8)
        if event == 0 and len(builds) < 5:
            await self.desk.queued(f"v{len(builds)}.0.0")
        elif event == 1:
            with suppress(Conflict):
                await self.desk.history.builds.cancel(build.id)
        elif event == 2:
            with suppress(Conflict):
                await self.desk.history.builds.restart(build.id)
        elif event == 3:
            await self.worker_lost()
        elif event in (4, 5):
            await self.desk.handle(started(build.id, build.attempt))
        else:
            with suppress(OutOfTurn):
                await self.desk.handle(finished(build.id, self.random.choice(RESULTS), build.attempt))

    async def worker_lost(self) -> None:
        """The worker ends with all that it holds, and comes back as another process after the pause."""
        self.boots += 1
        await self.desk.handle(WorkerOnline("w", f"boot{self.boots}", 0))
        async with self.desk.history.database.write() as connection:
            await connection.execute(update(builds_table).values(due_at=NOW))
        await self.desk.handle(WorkerOnline("w", "boot", 100))


NOTE = "INSERT INTO moves VALUES ({before}, NEW.state)"
SQLITE = "CREATE TRIGGER note_{name} AFTER {event} ON builds BEGIN {note}; END"
POSTGRESQL = (
    "CREATE FUNCTION note_{name}() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN {note}; RETURN NEW; END'; "
    "CREATE TRIGGER note_{name} AFTER {event} ON builds FOR EACH ROW EXECUTE FUNCTION note_{name}()"
)


@pytest.fixture
async def moves(desk: Desk) -> AsyncIterator[Desk]:
    """The desk, whose database notes each change of a state."""
    async with desk.history.database.write() as connection:
        trigger = SQLITE if connection.dialect.name == "sqlite" else POSTGRESQL
        await connection.execute(text("CREATE TABLE moves (before TEXT, after TEXT)"))
        for name, event, before in (("made", "INSERT", "''"), ("moved", "UPDATE OF state", "OLD.state")):
            note = NOTE.format(before=before)
            if trigger is POSTGRESQL:
                note = note.replace("'", "''")
            for statement in trigger.format(name=name, event=event, note=note).split("; CREATE"):
                await connection.execute(text(statement if statement.startswith("CREATE") else f"CREATE{statement}"))
    await desk.manifest(digest(1))
    yield desk
    async with desk.history.database.write() as connection:  # PostgreSQL's database serves the next test too
        await connection.execute(text("DROP TABLE moves"))
        for name in ("made", "moved") if connection.dialect.name == "postgresql" else ():
            await connection.execute(text(f"DROP FUNCTION note_{name} CASCADE"))


async def seen(desk: Desk) -> set[tuple[str, str]]:
    async with desk.history.database.read() as connection:
        rows = await connection.execute(text("SELECT DISTINCT before, after FROM moves"))
        return {(row[0], row[1]) for row in rows}


async def test_no_operation_makes_a_move_that_is_not_in_the_table(moves: Desk) -> None:
    life = Life(moves, random.Random(17))
    await moves.queued("v0.0.0")
    for _ in range(150):
        await life.step()
    assert await seen(moves) <= LEGAL | {("", "queued")}


async def test_every_move_in_the_table_happens(moves: Desk) -> None:
    life, builds, build_id = Life(moves, random.Random(17)), moves.history.builds, await moves.queued()
    for result in RESULTS:
        await moves.handle(started(build_id, (await moves.build(build_id)).attempt))
        await moves.handle(finished(build_id, result, (await moves.build(build_id)).attempt))
        if (await moves.build(build_id)).state.final:
            await builds.restart(build_id)
    await builds.cancel(build_id)
    await builds.restart(build_id)
    await moves.handle(started(build_id, (await moves.build(build_id)).attempt))
    await builds.cancel(build_id)
    await moves.handle(finished(build_id, Result(Outcome.CANCELLED), (await moves.build(build_id)).attempt))
    await builds.restart(build_id)
    for _ in range(MOST_LOST):
        await life.worker_lost()
    await builds.restart(build_id)
    assert await seen(moves) == LEGAL | {("", "queued")}


async def test_a_build_that_has_ended_cannot_end_otherwise(moves: Desk) -> None:
    build_id = await moves.queued()
    await moves.history.builds.cancel(build_id)
    for state in BuildState:
        if state.final:
            async with moves.history.database.write() as connection:
                with pytest.raises(Conflict):
                    await moves.history.builds.end(connection, build_id, state)
    assert (await moves.build(build_id)).state is BuildState.CANCELLED


def test_a_state_either_has_ended_or_can_end() -> None:
    for state in BuildState:
        ends = [other for other in BuildState if other.final and state in other.sources]
        assert bool(ends) != state.final
        assert state in BuildState.QUEUED.sources
        assert state.words
