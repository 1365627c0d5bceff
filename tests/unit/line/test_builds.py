"""The life of a build in the database: every change once, whatever comes twice or late."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from lumper.errors import Conflict, NotFound
from lumper.line.history import History
from lumper.model import events
from lumper.model.builds.build import BuildState
from lumper.model.builds.lease import MOST_LOST
from lumper.model.source import Person, Project, Push, parse_git_url
from lumper.store.tables import builds
from parts.line.desk import sent

PUSH = Push("owner/app", "refs/tags/v1.0.0", "a" * 40, pusher=Person("ann", "ann@example.org"))


@pytest.fixture
async def history(history: History) -> History:
    await history.builds.online(events.WorkerOnline("w", "boot-c1", 100))
    return history


async def queue(history: History, project: Project, push: Push = PUSH) -> tuple[int, bool]:
    async with history.database.write() as connection:
        return await history.builds.queue(connection, project, push)


def started(build_id: int, attempt: int = 1, claim: str = "c1", worker: str = "w") -> events.AttemptStarted:
    return events.AttemptStarted(build_id, attempt, claim, worker, f"boot-{claim}", datetime.now(UTC))


async def test_a_push_is_queued_once_with_one_job(history: History, project: Project) -> None:
    build_id, new = await queue(history, project)
    assert (build_id, new) == (1, True)
    assert await queue(history, project) == (build_id, False)
    [job] = await sent(history)
    assert isinstance(job, events.BuildJob)
    assert (job.commit, job.url, job.push_tag) == (PUSH.commit, project.url, "_build-1-1")


async def test_a_transaction_that_fails_leaves_neither_build_nor_job(history: History, project: Project) -> None:
    with pytest.raises(RuntimeError):
        async with history.database.write() as connection:
            await history.builds.queue(connection, project, PUSH)
            raise RuntimeError
    assert await history.builds.newest() == []
    assert await sent(history) == []


async def test_many_transactions_at_once_all_succeed(history: History, project: Project) -> None:
    pushes = [Push("owner/app", f"refs/tags/v{n}", "a" * 40) for n in range(60)]
    found = await asyncio.gather(*(queue(history, project, push) for push in pushes))
    assert sorted(build_id for build_id, _ in found) == list(range(1, 61))


async def test_the_first_claim_holds_and_the_second_is_told_to_stop(history: History, project: Project) -> None:
    build_id, _ = await queue(history, project)
    await sent(history)
    assert await history.builds.take(started(build_id))
    assert not await history.builds.take(started(build_id, claim="c2", worker="other"))
    assert await sent(history) == [events.CancelBuild(build_id, 1, "c2")]
    assert await history.builds.holds(build_id, 1, "c1")
    assert not await history.builds.holds(build_id, 1, "c2")


async def test_the_same_start_twice_changes_nothing(history: History, project: Project) -> None:
    build_id, _ = await queue(history, project)
    await history.builds.take(started(build_id))
    await sent(history)
    await history.builds.take(started(build_id))
    assert await sent(history) == []


async def test_a_worker_that_begins_anew_gives_its_builds_back_at_once(history: History, project: Project) -> None:
    build_id, _ = await queue(history, project)
    await history.builds.take(started(build_id))
    await sent(history)
    assert await history.builds.online(events.WorkerOnline("w", "boot-c1", 100)) == []
    assert await history.builds.online(events.WorkerOnline("w", "another boot", 100)) == [build_id]
    [job] = await sent(history)
    assert isinstance(job, events.BuildJob)
    assert job.attempt == 2
    assert not await history.builds.holds(build_id, 1, "c1")


async def test_a_silent_worker_loses_its_build_when_the_lease_is_over(history: History, project: Project) -> None:
    build_id, _ = await queue(history, project)
    await history.builds.take(started(build_id))
    assert await history.builds.expire() == []
    await set_lease(history, build_id)
    await history.builds.extend(events.Heartbeat("w", ((build_id, 1, "c1"),)))
    assert await history.builds.expire() == []
    await set_lease(history, build_id)
    assert await history.builds.expire() == [build_id]
    await sent(history)
    await history.builds.extend(events.Heartbeat("w", ((build_id, 1, "c1"),)))
    assert await sent(history) == [events.CancelBuild(build_id, 1, "c1")]


async def set_lease(history: History, build_id: int) -> None:
    past = datetime.now(UTC) - timedelta(seconds=1)
    async with history.database.write() as connection:
        await connection.execute(update(builds).where(builds.c.id == build_id).values(lease_until=past))


async def test_a_build_whose_workers_are_lost_again_and_again_fails_with_a_report(
    history: History, project: Project
) -> None:
    build_id, _ = await queue(history, project)
    for attempt in range(1, MOST_LOST + 1):
        await sent(history)
        await history.builds.take(started(build_id, attempt, f"c{attempt}"))
        await history.builds.online(events.WorkerOnline("w", "another", 100))
    build = await history.builds.get(build_id)
    assert build.state is BuildState.FAILED
    assert "lost 10 times" in build.error
    [report] = await sent(history)
    assert isinstance(report, events.BuildReport)
    assert report.page == f"http://lumper.test/builds/{build_id}"


async def test_a_build_that_loses_worker_after_worker_leaves_them_to_others_for_a_while(
    history: History, project: Project
) -> None:
    build_id, _ = await queue(history, project)
    waits = []
    for attempt in range(1, 6):
        await history.builds.take(started(build_id, attempt, f"c{attempt}"))
        await history.builds.online(events.WorkerOnline("w", "another", 100))
        waits.append((await history.builds.dispatch.waits()).get(build_id))
    assert waits[:3] == [None, None, None], "it was handed out at once"
    assert all(wait is not None and "tried again at" in wait.reason for wait in waits[3:])


async def test_what_was_lost_before_a_build_was_asked_for_again_does_not_count(
    history: History, project: Project
) -> None:
    build_id, _ = await queue(history, project)
    attempt = 0
    for _ in range(2):
        for _ in range(MOST_LOST - 1):
            attempt += 1
            await history.builds.take(started(build_id, attempt, f"c{attempt}"))
            await history.builds.online(events.WorkerOnline("w", "another", 100))
        assert (await history.builds.get(build_id)).state is BuildState.QUEUED
        await history.builds.cancel(build_id)
        await history.builds.restart(build_id)
        attempt += 1


async def test_a_waiting_build_is_cancelled_at_once_and_its_job_is_refused(history: History, project: Project) -> None:
    build_id, _ = await queue(history, project)
    await sent(history)
    assert (await history.builds.cancel(build_id)).state is BuildState.CANCELLED
    assert not await history.builds.take(started(build_id))
    assert await sent(history) == [events.CancelBuild(build_id, 1, "c1")]


async def test_a_running_build_is_cancelled_by_a_word_to_its_worker(history: History, project: Project) -> None:
    build_id, _ = await queue(history, project)
    await history.builds.take(started(build_id))
    await sent(history)
    await history.builds.cancel(build_id)
    assert await sent(history) == [events.CancelBuild(build_id, 1, "c1")]
    # It died before it heard: that is a cancel too.
    await history.builds.online(events.WorkerOnline("w", "another", 100))
    assert (await history.builds.get(build_id)).state is BuildState.CANCELLED


async def test_only_an_ended_build_is_restarted(history: History, project: Project) -> None:
    build_id, _ = await queue(history, project)
    with pytest.raises(Conflict):
        await history.builds.restart(build_id)
    ended = await history.builds.cancel(build_id)
    restarted = await history.builds.restart(build_id)
    assert (restarted.state, restarted.attempt, restarted.error) == (BuildState.QUEUED, 2, "")
    assert restarted.created_at > ended.created_at, "lists tell when it was asked for"
    with pytest.raises(NotFound):
        await history.builds.restart(99)


async def test_removing_a_project_takes_its_builds_with_it(history: History, project: Project) -> None:
    await queue(history, project)
    await history.projects.remove(project.name)
    assert await history.builds.newest() == []


async def test_the_id_of_a_build_is_never_that_of_another_one(history: History, project: Project) -> None:
    async with history.database.write() as connection:
        first, _ = await history.builds.queue(connection, project, Push("owner/app", "refs/tags/v1", "a" * 40))
    await history.projects.remove(project.id)
    other = await history.projects.add(parse_git_url("https://git.example.org/owner/other.git"))
    async with history.database.write() as connection:
        second, _ = await history.builds.queue(connection, other, Push("owner/other", "refs/tags/v1", "b" * 40))
    assert second > first


async def test_a_name_is_taken_once(history: History, project: Project) -> None:
    with pytest.raises(Conflict, match="owner/app"):
        await history.projects.add(parse_git_url("https://elsewhere.example.org/owner/app.git"))
    second = await history.projects.add(parse_git_url("https://elsewhere.example.org/owner/app.git"), name="other")
    assert second.image == "other"
    secrets = [await history.projects.webhook_secret(one.id) for one in (project, second)]
    assert secrets[0] != secrets[1]
    assert [len(secret) for secret in secrets] == [43, 43]
