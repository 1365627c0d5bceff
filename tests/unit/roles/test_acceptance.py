"""What the server makes of events: each counts once, whatever comes twice, late, out of order or from the wrong one."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from lumper.errors import LogGap, OutOfTurn
from lumper.line.history import open_history
from lumper.model.builds.build import BuildState, Outcome, Result
from lumper.model.builds.lease import MOST_LOST
from lumper.model.deployment import Service
from lumper.model.events import (
    EVENTS,
    NOTIFY,
    BuildJob,
    BuildReport,
    CancelBuild,
    Heartbeat,
    Payload,
    WorkerOnline,
)
from lumper.model.images.activity import SERVER, Actor
from lumper.model.images.garbage import Sweep
from lumper.model.images.image import private_tag
from lumper.model.images.rules import Rule
from lumper.model.links import Links
from lumper.queue.brokers.memory import MemoryBroker
from lumper.queue.codec import encode
from lumper.queue.retry import RetryPolicy
from lumper.roles.acceptance import Acceptance
from lumper.roles.base import consume
from lumper.store.tables import builds as builds_table
from parts.line.desk import FAILURE, LINES, Desk, chunks, digest, finished, started, success
from parts.line.running import message, running
from parts.servers.postgresql import PostgresServer
from parts.suite.eventually import LONGEST, eventually


async def test_a_success_moves_the_tags_and_tells_the_people(desk: Desk) -> None:
    build_id = await desk.queued()
    await desk.manifest(digest(1), tag=f"_build-{build_id}-1")
    await desk.sent()
    await desk.handle(started(build_id), finished(build_id, success(1)))
    build = await desk.build(build_id)
    assert (build.state, build.digest, build.tags) == (BuildState.SUCCEEDED, digest(1), ("1.2.3", "1.2", "1", "latest"))
    assert (build.commit, build.author.name, build.seconds, build.size) == ("c" * 40, "Ada", 9.0, 400)
    assert await desk.tags() == dict.fromkeys(("1.2.3", "1.2", "1", "latest"), "0001")
    assert await desk.history.images.tag("owner/app", f"_build-{build_id}-1") is None
    [report] = await desk.sent()
    assert isinstance(report, BuildReport)
    assert (report.build, report.page) == (build, f"http://lumper.test/builds/{build_id}")


async def test_a_build_that_would_move_an_immutable_tag_fails_and_moves_none(desk: Desk) -> None:
    await desk.manifest(digest(9), tag="1.2.3")
    await desk.history.images.set_rule(Rule("owner/*", immutable=("*.*.*",)), SERVER)
    build_id = await desk.queued()
    await desk.manifest(digest(1), tag=private_tag(build_id, 1))

    await desk.handle(started(build_id), finished(build_id, success(1)))

    build = await desk.build(build_id)
    assert build.state is BuildState.FAILED
    assert build.error == "The tag owner/app:1.2.3 is immutable by the rule for owner/*."
    assert "another tag" in build.hint
    assert await desk.tags() == {"1.2.3": "0009"}
    assert await desk.history.images.tag("owner/app", private_tag(build_id, 1)) is None


async def test_a_build_moves_tags_in_the_name_of_who_pushed_the_git_tag(desk: Desk) -> None:
    build_id = await desk.queued()
    await desk.manifest(digest(1))

    await desk.handle(started(build_id), finished(build_id, success(1)))

    told = await desk.history.activity.activities(tag="latest")
    assert [(one.actor, one.detail) for one in told] == [(Actor("ann", "build"), f"build {build_id}")]


async def test_a_patch_of_an_old_line_and_a_pre_release_leave_latest_alone(desk: Desk) -> None:
    for number, tag in enumerate(("v2.0.0", "v1.2.9", "v2.1.0-rc.1"), 1):
        build_id = await desk.queued(tag)
        await desk.manifest(digest(number))
        await desk.handle(started(build_id), finished(build_id, success(number)))
    assert await desk.tags() == {
        "2.0.0": "0001", "2.0": "0001", "2": "0001", "latest": "0001",
        "1.2.9": "0002", "1.2": "0002", "1": "0002", "2.1.0-rc.1": "0003",
    }  # fmt: skip


@pytest.mark.parametrize("seed", range(8))
async def test_events_that_come_twice_and_in_any_order_have_one_effect(desk: Desk, seed: int) -> None:
    build_id = await desk.queued()
    await desk.manifest(digest(1))
    await desk.sent()
    end = finished(build_id, success(1), log_size=sum(map(len, LINES)))
    beat = Heartbeat("w", ((build_id, 1, "c1"),))
    told: list[Payload] = [WorkerOnline("w", "boot"), started(build_id), beat, *chunks(build_id), end]
    twice = [message(payload, EVENTS, number) for number, payload in enumerate([*told, *told])]
    random.Random(seed).shuffle(twice)

    broker = MemoryBroker()
    await broker.publish(twice)
    policy = RetryPolicy(attempts=400, first=0.01, factor=1.5)

    async def handled() -> bool:
        return await broker.depth(EVENTS) == 0

    async with running(consume(broker, EVENTS, desk.acceptance.handle, policy)):
        await eventually(handled)
    build = await desk.build(build_id)
    assert (build.state, build.attempt, build.worker) == (BuildState.SUCCEEDED, 1, "w")
    assert b"".join([chunk async for chunk in desk.history.logs.read(build_id, 1)]).decode() == "".join(LINES)
    assert await desk.tags() == dict.fromkeys(("1.2.3", "1.2", "1", "latest"), "0001")
    sent = await desk.sent()
    assert [type(payload) for payload in sent if isinstance(payload, BuildReport)] == [BuildReport]
    assert not any(isinstance(payload, BuildJob) for payload in sent)


async def test_a_result_of_a_claim_that_does_not_hold_the_attempt_changes_nothing(desk: Desk) -> None:
    build_id = await desk.queued()
    await desk.manifest(digest(1))
    await desk.handle(started(build_id, claim="mine"), started(build_id, claim="other", worker="v"))
    await desk.sent()
    await desk.handle(
        *chunks(build_id, "other"),
        finished(build_id, success(1), claim="other"),
        finished(build_id, FAILURE, attempt=2, claim="mine"),
        finished(99, success(1)),
    )
    assert (await desk.build(build_id)).state is BuildState.RUNNING
    assert await desk.history.logs.size(build_id, 1) == 0
    assert (await desk.tags(), await desk.sent()) == ({}, [])


async def test_a_stale_worker_cannot_move_a_tag_after_its_build_was_given_to_another(desk: Desk) -> None:
    build_id = await desk.queued()
    await desk.manifest(digest(1))
    await desk.manifest(digest(2))
    await desk.handle(started(build_id), WorkerOnline("w", "another boot"))
    await desk.handle(started(build_id, 2, "c2", "v"), finished(build_id, success(2), 2, "c2"))
    await desk.handle(finished(build_id, success(1)))
    assert set((await desk.tags()).values()) == {"0002"}


@pytest.mark.parametrize("late", [False, True])
async def test_what_a_lost_attempt_has_pushed_is_garbage_also_where_untagged_images_are_kept(
    desk: Desk, late: bool
) -> None:
    build_id = await desk.queued()
    await desk.manifest(digest(2), tag=private_tag(build_id, 2))
    await desk.handle(started(build_id), WorkerOnline("w", "another boot"), started(build_id, 2, "c2", "v"))
    if not late:
        await desk.manifest(digest(1), tag=private_tag(build_id, 1))
    await desk.handle(finished(build_id, success(2), 2, "c2"))
    if late:
        await desk.manifest(digest(1), tag=private_tag(build_id, 1))
        await desk.handle(finished(build_id, success(1)))

    garbage = await desk.history.images.garbage("owner/app", Sweep(datetime.now(UTC) + timedelta(minutes=1)))
    assert [one.name for one in garbage] == [digest(1)]
    assert set((await desk.tags()).values()) == {"0002"}


async def test_whoever_was_refused_an_attempt_does_not_take_the_image_of_who_has_it(desk: Desk) -> None:
    build_id = await desk.queued()
    await desk.manifest(digest(1), tag=private_tag(build_id, 1))
    await desk.handle(started(build_id), started(build_id, 1, "c2", "v"))
    await desk.handle(finished(build_id, success(2), 1, "c2"))
    assert await desk.history.images.tag("owner/app", private_tag(build_id, 1)) is not None
    await desk.handle(finished(build_id, success(1)))
    assert set((await desk.tags()).values()) == {"0001"}


async def test_an_image_that_the_registry_does_not_have_fails_the_build_with_a_hint(desk: Desk) -> None:
    build_id = await desk.queued()
    await desk.handle(started(build_id), finished(build_id, success(1, Service("app"))))
    build = await desk.build(build_id)
    assert (build.state, build.digest, build.tags) == (BuildState.FAILED, "", ())
    assert digest(1) in build.error
    assert "Restart the build" in build.hint
    assert await desk.tags() == {}
    assert [type(payload) for payload in await desk.sent()] == [BuildJob, BuildReport]
    assert await desk.history.rollouts.newest() == []


async def test_an_image_of_another_repository_does_not_count(desk: Desk) -> None:
    build_id = await desk.queued()
    await desk.manifest(digest(1), image="somebody/else")
    await desk.handle(started(build_id), finished(build_id, success(1)))
    assert (await desk.build(build_id)).state is BuildState.FAILED
    assert await desk.tags("somebody/else") == {}


async def test_a_log_must_be_whole_before_its_build_ends(desk: Desk) -> None:
    build_id = await desk.queued()
    await desk.manifest(digest(1))
    end = finished(build_id, success(1), log_size=sum(map(len, LINES)))
    first, second, third = chunks(build_id)
    await desk.handle(started(build_id), first)
    with pytest.raises(LogGap):
        await desk.handle(third)
    with pytest.raises(LogGap):
        await desk.handle(end)
    await desk.handle(second, third, end)
    build = await desk.build(build_id)
    assert (build.state, build.log_size) == (BuildState.SUCCEEDED, sum(map(len, LINES)))


async def test_what_comes_before_the_beginning_is_kept_until_that_is_known(desk: Desk) -> None:
    build_id = await desk.queued()
    for early in (chunks(build_id)[0], finished(build_id, FAILURE)):
        with pytest.raises(OutOfTurn):
            await desk.handle(early)
    await desk.handle(Heartbeat("w", ((build_id, 1, "c1"),)))
    assert [type(payload) for payload in await desk.sent()] == [BuildJob]  # and nobody is told to stop


async def test_with_several_servers_an_event_waits_for_the_one_before_it(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    links = Links("http://lumper.test", "lumper.test", "127.0.0.1:5080")
    history = open_history(await asyncio.to_thread(postgres.ready), tmp_path / "logs", links, encode)
    await history.database.migrate()
    try:
        await history.builds.online(WorkerOnline("w", "boot", 100))
        other, one = Desk(history, Acceptance(history, turn=LONGEST)), Desk(history, Acceptance(history, turn=0.01))
        build_id = await one.queued()
        first, second, third = chunks(build_id)
        end = finished(build_id, FAILURE, log_size=sum(map(len, LINES)))
        waiting = [asyncio.create_task(other.handle(event)) for event in (end, third, second)]
        for _ in range(2):  # one that is not coming is waited for once
            with pytest.raises(OutOfTurn):
                await one.handle(first)
        assert not any(task.done() for task in waiting)
        await one.handle(started(build_id), first)
        await asyncio.gather(*waiting)
        build = await one.build(build_id)
        assert (build.state, build.log_size) == (BuildState.FAILED, sum(map(len, LINES)))
    finally:
        await history.database.close()


async def test_a_beginning_that_another_server_handles_meanwhile_loses_nothing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_id = await desk.queued()
    waits = desk.history.builds.waits

    async def begun_meanwhile(build: int, attempt: int) -> bool:
        await desk.handle(started(build_id))
        return await waits(build, attempt)

    monkeypatch.setattr(desk.history.builds, "waits", begun_meanwhile)
    first, second, third = chunks(build_id)
    await desk.handle(first, second, third)
    assert await desk.history.logs.size(build_id, 1) == sum(map(len, LINES))


async def test_a_temporary_failure_is_tried_again_with_a_delay_and_at_last_fails(desk: Desk) -> None:
    build_id = await desk.queued()
    away = replace(FAILURE, error="The engine is away.", temporary=True)
    for attempt in (1, 2):
        await desk.handle(started(build_id, attempt), finished(build_id, away, attempt))
        build = await desk.build(build_id)
        assert (build.state, build.attempt) == (BuildState.QUEUED, attempt + 1)
    await desk.handle(started(build_id, 3), finished(build_id, away, 3))
    build = await desk.build(build_id)
    assert (build.state, build.error, build.hint) == (BuildState.FAILED, "The engine is away.", "Look at it.")
    reports = [payload for payload in await desk.sent() if isinstance(payload, BuildReport)]
    assert len(reports) == 1


async def test_a_build_that_was_cancelled_ends_cancelled_and_nobody_is_mailed(desk: Desk) -> None:
    build_id = await desk.queued()
    await desk.handle(started(build_id))
    await desk.history.builds.cancel(build_id)
    stop = [payload for payload in await desk.sent() if isinstance(payload, CancelBuild)]
    assert stop == [CancelBuild(build_id, 1, "c1")]
    await desk.handle(finished(build_id, Result(Outcome.CANCELLED, error="Cancelled.")))
    assert (await desk.build(build_id)).state is BuildState.CANCELLED
    assert await desk.sent() == []


@pytest.mark.parametrize("late", [success(1), Result(Outcome.FAILED, error="The registry is away.", temporary=True)])
async def test_what_a_build_gave_before_it_heard_the_word_to_stop_counts_no_more(desk: Desk, late: Result) -> None:
    build_id = await desk.queued()
    await desk.handle(started(build_id))
    await desk.history.builds.cancel(build_id)
    await desk.manifest(digest(1), tag=private_tag(build_id, 1))
    await desk.sent()
    await desk.handle(finished(build_id, late))
    build = await desk.build(build_id)
    assert (build.state, build.error, build.hint) == (BuildState.CANCELLED, "Cancelled.", "")
    assert await desk.tags() == {}
    assert await desk.sent() == []


async def test_a_build_that_its_commit_or_recipe_did_not_want_ends_skipped_and_nobody_is_mailed(desk: Desk) -> None:
    build_id = await desk.queued()
    await desk.sent()
    await desk.handle(started(build_id), finished(build_id, Result(Outcome.SKIPPED, error="Not wanted.")))
    build = await desk.build(build_id)
    assert (build.state, build.error) == (BuildState.SKIPPED, "Not wanted.")
    assert await desk.sent() == []


async def test_a_worker_that_stopped_without_being_asked_leaves_the_build_to_the_next_attempt(desk: Desk) -> None:
    build_id = await desk.queued()
    await desk.handle(started(build_id), finished(build_id, Result(Outcome.CANCELLED)))
    build = await desk.build(build_id)
    assert (build.state, build.attempt) == (BuildState.QUEUED, 2)


async def test_a_worker_that_is_not_heard_of_loses_its_build_and_ten_losses_are_the_end(desk: Desk) -> None:
    build_id = await desk.queued()
    for attempt in range(1, MOST_LOST + 1):
        await desk.handle(started(build_id, attempt))
        await desk.acceptance.expire()
        assert (await desk.build(build_id)).state is BuildState.RUNNING
        async with desk.history.database.write() as connection:
            long_ago = datetime.now(UTC) - timedelta(seconds=1)
            await connection.execute(update(builds_table).values(lease_until=long_ago))
        await desk.acceptance.expire()
    build = await desk.build(build_id)
    assert (build.state, build.attempt) == (BuildState.FAILED, MOST_LOST)
    assert "lost 10 times" in build.error


async def test_what_is_no_event_is_done_with(desk: Desk) -> None:
    await desk.handle(CancelBuild(1, 1))
    assert await desk.sent() == []
    assert NOTIFY != EVENTS


async def test_templates_take_nothing_back_from_a_higher_version(desk: Desk) -> None:
    for number, tag in enumerate(("v1.3.0", "v1.2.4"), 1):
        build_id = await desk.queued(tag)
        await desk.manifest(digest(number))
        asked = replace(success(number), tags=(tag, "1", "stable"))
        await desk.handle(started(build_id), finished(build_id, asked))
    assert await desk.tags() == {"v1.3.0": "0001", "1": "0001", "stable": "0001", "v1.2.4": "0002"}
