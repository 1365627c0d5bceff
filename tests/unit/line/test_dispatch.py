"""Handing builds to workers: in the transaction that makes it possible, and to those that live."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from lumper.line.history import History
from lumper.model.builds.build import BuildState
from lumper.model.events import AttemptStarted, BuildJob, Heartbeat, WorkerOnline, jobs_topic
from lumper.model.source import Project, Push, parse_git_url
from lumper.queue.codec import decode
from lumper.store.tables import builds, workers

NOW = datetime.now(UTC)


@dataclass
class House:
    """A server without a queue: what it sends lies in the outbox."""

    history: History

    async def project(self, name: str = "owner/app", **rules: object) -> Project:
        """A project with these rules."""
        added = await self.history.projects.add(parse_git_url(f"https://git.example.org/{name}.git"))
        changed = replace(added.rules, **rules)  # type: ignore[arg-type]
        return await self.history.projects.set_rules(added.name, changed)

    async def push(self, project: Project, tag: str) -> int:
        """A build of a pushed tag."""
        push = Push(project.repository, f"refs/tags/{tag}", f"{abs(hash(tag)):040x}"[:40])
        async with self.history.database.write() as connection:
            return (await self.history.builds.queue(connection, project, push))[0]

    async def online(self, name: str, slots: int, *labels: str, boot: str = "b1", at: datetime = NOW) -> None:
        """A worker begins, or ends."""
        await self.history.builds.online(WorkerOnline(name, boot, slots, labels, at))

    async def end(self, build_id: int) -> None:
        """A build ends."""
        async with self.history.database.write() as connection:
            await self.history.builds.end(connection, build_id, BuildState.FAILED)

    async def jobs(self) -> list[tuple[str, int, int]]:
        """Worker, build and attempt of every job since the last call."""
        pending = await self.history.outbox.pending()
        await self.history.outbox.forget([each.id for each in pending])
        found = [(each.topic, decode(each.body)) for each in pending]
        return [(topic, job.build_id, job.attempt) for topic, job in found if isinstance(job, BuildJob)]

    async def reason(self, build_id: int) -> str:
        """Why a build waits, "" if it does not."""
        wait = (await self.history.builds.dispatch.waits()).get(build_id)
        return wait.reason if wait else ""

    async def age(self, build_id: int, seconds: float) -> None:
        """The lease of a build ended so long ago, and it has waited since then."""
        then = datetime.now(UTC) - timedelta(seconds=seconds)
        async with self.history.database.write() as connection:
            changing = update(builds).where(builds.c.id == build_id)
            await connection.execute(changing.values(due_at=then))
            await connection.execute(changing.where(builds.c.lease_until.is_not(None)).values(lease_until=then))


@pytest.fixture
def house(history: History) -> House:
    return House(history)


W1, W2 = jobs_topic("w1"), jobs_topic("w2")


async def test_a_build_waits_for_a_worker_and_goes_to_the_first_that_comes(house: House) -> None:
    build_id = await house.push(await house.project(), "v1")
    assert await house.jobs() == []
    assert await house.reason(build_id) == "no worker is online"
    await house.online("w1", 1)
    assert await house.jobs() == [(W1, build_id, 1)]
    assert await house.reason(build_id) == ""


async def test_the_end_of_a_build_begins_the_next_in_the_same_transaction(house: House) -> None:
    project = await house.project()
    await house.online("w1", 1)
    first, second = await house.push(project, "v1"), await house.push(project, "v2")
    assert await house.jobs() == [(W1, first, 1)]
    assert "busy" in await house.reason(second)
    await house.end(first)
    assert await house.jobs() == [(W1, second, 1)]


async def test_a_worker_never_has_more_builds_than_places(house: House) -> None:
    project = await house.project()
    await house.online("w1", 3)
    await asyncio.gather(*(house.push(project, f"v{n}") for n in range(10)))
    assert len(await house.jobs()) == 3
    [worker] = await house.history.builds.dispatch.workers()
    assert (worker.name, worker.slots, worker.busy, worker.online) == ("w1", 3, 3, True)


async def test_the_limit_and_the_labels_of_a_project_are_kept(house: House) -> None:
    limited, labelled = await house.project("a/one", concurrency=1), await house.project("a/two", labels=("arm64",))
    await house.online("w1", 9)
    first, second = await house.push(limited, "v1"), await house.push(limited, "v2")
    third = await house.push(labelled, "v1")
    assert await house.jobs() == [(W1, first, 1)]
    assert "1 of 1" in await house.reason(second)
    assert "labels arm64" in await house.reason(third)
    await house.online("w2", 1, "arm64", "large")
    assert await house.jobs() == [(W2, third, 1)]


async def test_a_worker_that_is_silent_gets_nothing_until_it_is_heard_again(house: House) -> None:
    await house.online("w1", 1)
    async with house.history.database.write() as connection:
        await connection.execute(update(workers).values(seen_at=NOW - timedelta(minutes=1)))
    build_id = await house.push(await house.project(), "v1")
    assert await house.jobs() == []
    await house.history.builds.extend(Heartbeat("w1", (), "b1", 1))
    assert await house.jobs() == [(W1, build_id, 1)]


async def test_a_heartbeat_makes_a_worker_known_that_was_not_heard_to_begin(house: House) -> None:
    build_id = await house.push(await house.project(), "v1")
    await house.history.builds.extend(Heartbeat("w1", (), "b1", 1, ("arm64",)))
    assert await house.jobs() == [(W1, build_id, 1)]


async def test_a_worker_that_ends_gives_back_what_it_has_not_begun(house: House) -> None:
    await house.online("w1", 1)
    build_id = await house.push(await house.project(), "v1")
    await house.jobs()
    await house.online("w2", 1)
    await house.online("w1", 0, boot="farewell")
    assert await house.jobs() == [(W2, build_id, 2)]


async def test_a_job_that_is_not_begun_in_time_goes_to_another_worker(house: House) -> None:
    await house.online("w1", 1)
    build_id = await house.push(await house.project(), "v1")
    await house.online("w2", 1)
    await house.jobs()
    await house.age(build_id, 60)
    async with house.history.database.write() as connection:
        changing = update(workers).where(workers.c.name == "w1")
        await connection.execute(changing.values(seen_at=NOW - timedelta(minutes=1)))
    assert await house.history.builds.expire() == [build_id]
    assert await house.jobs() == [(W2, build_id, 2)]


async def test_news_of_an_earlier_life_changes_nothing(house: House) -> None:
    await house.online("w1", 2, boot="b2", at=NOW + timedelta(seconds=5))
    await house.online("w1", 0, boot="b1", at=NOW)
    [worker] = await house.history.builds.dispatch.workers()
    assert (worker.slots, worker.online) == (2, True)


async def test_what_was_begun_in_an_earlier_life_and_is_heard_late_begins_again_at_once(house: House) -> None:
    await house.online("w1", 1, boot="b1")
    build_id = await house.push(await house.project(), "v1")
    await house.jobs()
    await house.online("w1", 1, boot="b2", at=NOW + timedelta(seconds=5))
    late = AttemptStarted(build_id, 1, "c1", "w1", "b1", NOW + timedelta(seconds=2))
    assert not await house.history.builds.take(late)
    assert await house.jobs() == [(W1, build_id, 2)]


async def test_the_clock_hands_out_what_waited_for_another_worker(house: House) -> None:
    project = await house.project()
    await house.online("w1", 1)
    first = await house.push(project, "v1")
    await house.online("w2", 1)
    second = await house.push(project, "v2")
    assert await house.jobs() == [(W1, first, 1)]
    assert "moment for w1" in await house.reason(second)
    await house.history.builds.dispatch.tick()
    assert await house.jobs() == []
    await house.age(second, 6)
    await house.history.builds.dispatch.tick()
    assert await house.jobs() == [(W2, second, 1)]
