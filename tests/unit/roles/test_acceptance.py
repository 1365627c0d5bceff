"""What the server makes of events: each counts once, whatever comes twice, late, out of order or from the wrong one."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from lumper.errors import LogGap, OutOfTurn
from lumper.history.store import History, open_history
from lumper.history.tables import builds as builds_table
from lumper.model.activity import SERVER, Actor
from lumper.model.build import Build, BuildState, Outcome, Output, Part, Result
from lumper.model.deployment import Container, ContainerState, RolloutState, Service
from lumper.model.events import (
    EVENTS,
    NOTIFY,
    AttemptFinished,
    AttemptStarted,
    BuildJob,
    BuildReport,
    CancelBuild,
    Heartbeat,
    HostObserved,
    LogChunk,
    Payload,
    RolloutJob,
    RolloutProgress,
    RolloutReport,
    WorkerOnline,
)
from lumper.model.garbage import Sweep
from lumper.model.image import NewManifest, private_tag
from lumper.model.lease import MOST_LOST
from lumper.model.links import Links
from lumper.model.log import pack, to_line
from lumper.model.rules import Rule
from lumper.model.source import Person, Push, parse_git_url
from lumper.model.trigger import Trigger
from lumper.queue.brokers.memory import MemoryBroker
from lumper.queue.codec import decode, encode
from lumper.queue.retry import RetryPolicy
from lumper.roles.acceptance import Acceptance
from lumper.roles.base import consume
from parts.eventually import eventually
from parts.running import message, running

OCI = "application/vnd.oci.image.manifest.v1+json"
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LINES = [to_line(Output(1, 1, 1732440000.0, f"line {number}")) for number in range(3)]


@dataclass
class Desk:
    """The server's side, without a queue: events go in, messages come out of the outbox."""

    history: History
    acceptance: Acceptance

    async def queued(self, tag: str = "v1.2.3", name: str = "owner/app") -> int:
        """A queued build of a project of this name."""
        known = {project.name: project for project in await self.history.projects.all()}
        url = f"https://git.example.org/{name}.git"
        project = known.get(name) or await self.history.projects.add(parse_git_url(url))
        push = Push(name, f"refs/tags/{tag}", f"{abs(hash((name, tag))):040x}"[:40], pusher=Person("ann"))
        async with self.history.database.write() as connection:
            build_id, _ = await self.history.builds.queue(connection, project, push)
        return build_id

    async def manifest(self, digest: str, image: str = "owner/app", tag: str = "") -> str:
        """A manifest that a worker has pushed."""
        await self.history.images.put_manifest(image, NewManifest(digest, OCI, 400, ()), [tag] if tag else [])
        return digest

    async def handle(self, *payloads: Payload) -> None:
        """Take these events, one after the other."""
        for payload in payloads:
            await self.acceptance.handle(payload)

    async def sent(self) -> list[Payload]:
        """What is to be published since the last call."""
        pending = await self.history.outbox.due(1000)
        await self.history.outbox.forget([each.id for each in pending])
        return [decode(each.body) for each in pending]

    async def tags(self, image: str = "owner/app") -> dict[str, str]:
        """Every public tag with the last four digits of its digest."""
        return {tag.name: tag.digest[-4:] for tag in await self.history.images.tags(image) or []}

    async def build(self, build_id: int) -> Build:
        """The build as it is."""
        return await self.history.builds.get(build_id)


@pytest.fixture
async def desk(tmp_path: Path, database_url: str) -> AsyncIterator[Desk]:
    links = Links("http://lumper.test", "lumper.test", "127.0.0.1:5080")
    history = open_history(database_url, tmp_path / "logs", links, encode)
    await history.database.migrate()
    await history.builds.online(WorkerOnline("w", "boot", 100))
    yield Desk(history, Acceptance(history))
    await history.database.close()


def digest(number: int) -> str:
    return f"sha256:{number:064x}"


def started(build_id: int, attempt: int = 1, claim: str = "c1", worker: str = "w") -> AttemptStarted:
    return AttemptStarted(build_id, attempt, claim, worker, "boot", NOW)


def finished(build_id: int, result: Result, attempt: int = 1, claim: str = "c1", log_size: int = 0) -> AttemptFinished:
    return AttemptFinished(build_id, attempt, claim, NOW + timedelta(seconds=9), log_size, result)


def success(number: int, service: Service | None = None) -> Result:
    return Result(Outcome.SUCCEEDED, "c" * 40, Person("Ada"), digest(number), 400, service=service, stages={"build": 7})


FAILURE = Result(Outcome.FAILED, error="Step 2 failed.", hint="Look at it.")


def chunks(build_id: int, claim: str = "c1") -> list[LogChunk]:
    offsets = [0, len(LINES[0]), len(LINES[0]) + len(LINES[1])]
    return [
        LogChunk(build_id, 1, claim, offset, pack(line.encode())) for offset, line in zip(offsets, LINES, strict=True)
    ]


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


async def test_a_service_is_rolled_out_by_digest(desk: Desk) -> None:
    build_id = await desk.queued()
    await desk.manifest(digest(1))
    await desk.handle(started(build_id), finished(build_id, success(1, Service("app"))))
    [job] = [payload for payload in await desk.sent() if isinstance(payload, RolloutJob)]
    assert job.release.reference == f"127.0.0.1:5080/owner/app@{digest(1)}"
    assert (job.release.generation, job.release.version, job.release.build_id) == (1, "v1.2.3", build_id)


async def test_a_service_of_another_project_is_not_deployed_and_the_mail_says_so(desk: Desk) -> None:
    mine, theirs = await desk.queued(), await desk.queued(name="somebody/else")
    await desk.manifest(digest(1))
    await desk.manifest(digest(2), image="somebody/else")
    await desk.handle(started(mine), finished(mine, success(1, Service("app"))))
    await desk.sent()
    await desk.handle(started(theirs), finished(theirs, success(2, Service("app"))))
    [report] = await desk.sent()
    assert isinstance(report, BuildReport)
    assert report.build.state is BuildState.SUCCEEDED
    assert "'app' belongs to another project" in report.build.hint
    assert [rollout.build_id for rollout in await desk.history.rollouts.newest()] == [mine]


async def test_progress_of_a_rollout_that_comes_twice_is_told_once(desk: Desk) -> None:
    build_id = await desk.queued()
    await desk.manifest(digest(1))
    await desk.handle(started(build_id), finished(build_id, success(1, Service("app"))))
    [rollout] = await desk.history.rollouts.newest()
    await desk.sent()
    run = RolloutState.RUNNING
    told = [
        RolloutProgress(rollout.id, run, 0, (), NOW),
        RolloutProgress(rollout.id, run, 0, ("pulled",), NOW),
        RolloutProgress(rollout.id, run, 1, ("started",), NOW),
        RolloutProgress(rollout.id, run, 0, ("pulled",), NOW),
        RolloutProgress(rollout.id, run, 1, ("started",), NOW),
    ]
    end = RolloutProgress(rollout.id, RolloutState.FAILED, 2, (), NOW, "Not healthy.", "Look at it.")
    await desk.handle(*told, end, end, *told, RolloutProgress(99, run, 0, (), NOW))
    after = await desk.history.rollouts.get(rollout.id)
    assert (after.state, after.journal, after.error) == (RolloutState.FAILED, ("pulled", "started"), "Not healthy.")
    [report] = await desk.sent()
    assert isinstance(report, RolloutReport)
    assert (report.journal, report.hint) == (("pulled", "started"), "Look at it.")


async def test_an_old_look_at_a_host_does_not_replace_a_newer_one(desk: Desk) -> None:
    container = Container("c1", "app", digest(1), "h", 1, ContainerState.RUNNING)
    await desk.handle(HostObserved("local", NOW, (container,)))
    await desk.handle(HostObserved("local", NOW - timedelta(seconds=1), ()))
    assert await desk.history.rollouts.containers() == [container]


async def test_what_is_no_event_is_done_with(desk: Desk) -> None:
    await desk.handle(CancelBuild(1, 1))
    assert await desk.sent() == []
    assert NOTIFY != EVENTS


SPLIT = Result(Outcome.SPLIT, "c" * 40, parts=(Part("web", "web"), Part("api", ""), Part("tools", "extra/tools")))


async def test_a_commit_with_several_images_is_a_build_of_each_however_often_it_is_told(desk: Desk) -> None:
    first = await desk.queued()
    await desk.handle(WorkerOnline("w", "boot", slots=5))
    await desk.sent()
    await desk.handle(started(first), finished(first, SPLIT), finished(first, SPLIT))
    builds = {build.recipe: build for build in await desk.history.builds.newest()}
    assert {name: build.image for name, build in builds.items()} == {
        "web": "owner/app/web",
        "api": "owner/app",
        "tools": "owner/app/extra/tools",
    }
    assert builds["web"].id == first
    assert {build.state for build in builds.values()} == {BuildState.QUEUED}
    jobs = [each for each in await desk.sent() if isinstance(each, BuildJob)]
    assert sorted((job.recipe, job.image, job.attempt) for job in jobs) == [
        ("api", "owner/app", 1),
        ("tools", "owner/app/extra/tools", 1),
        ("web", "owner/app/web", 2),
    ]
    assert len({(job.ref, job.commit, job.trigger) for job in jobs}) == 1


async def test_a_split_is_done_once_although_its_first_attempt_was_lost(desk: Desk) -> None:
    first = await desk.queued()
    await desk.handle(started(first), WorkerOnline("w", "another boot"))
    second, third = (replace(started(first, attempt, f"c{attempt}"), boot="another boot") for attempt in (2, 3))
    await desk.handle(second, finished(first, SPLIT), finished(first, SPLIT, 2, "c2"))
    await desk.handle(finished(first, SPLIT, 2, "c2"), third, finished(first, SPLIT, 3, "c3"))
    builds = await desk.history.builds.newest()
    assert sorted(build.recipe for build in builds) == ["api", "tools", "web"]
    assert (await desk.build(first)).state is BuildState.FAILED  # a build of one image that is said to have several


async def test_the_push_of_a_split_build_is_known_and_its_images_start_again_together(desk: Desk) -> None:
    first = await desk.queued()
    await desk.handle(started(first), finished(first, SPLIT))
    assert await desk.queued() == first
    builds = await desk.history.builds.of_push(first)
    assert len(builds) == 3
    for build in builds:
        await desk.history.builds.cancel(build.id)
    async with desk.history.database.write() as connection:
        await desk.history.builds.all_restarted(connection, builds[1].id, Trigger.SCHEDULE, "cron")
    again = await desk.history.builds.of_push(first)
    assert {(build.state, build.trigger) for build in again} == {(BuildState.QUEUED, Trigger.SCHEDULE)}


async def test_each_image_moves_the_tags_of_its_own_repository(desk: Desk) -> None:
    first = await desk.queued()
    await desk.handle(started(first), finished(first, SPLIT))
    await desk.manifest(digest(1), "owner/app/web")
    asked = replace(success(1), tags=("1.2.3", "stable", "_build-9-9", "no tag"))
    await desk.handle(started(first, 2, "c2"), finished(first, asked, 2, "c2"))
    assert (await desk.build(first)).tags == ("1.2.3", "stable")
    assert await desk.tags("owner/app/web") == dict.fromkeys(("1.2.3", "stable"), "0001")
    assert await desk.tags() == {}


async def test_templates_take_nothing_back_from_a_higher_version(desk: Desk) -> None:
    for number, tag in enumerate(("v1.3.0", "v1.2.4"), 1):
        build_id = await desk.queued(tag)
        await desk.manifest(digest(number))
        asked = replace(success(number), tags=(tag, "1", "stable"))
        await desk.handle(started(build_id), finished(build_id, asked))
    assert await desk.tags() == {"v1.3.0": "0001", "1": "0001", "stable": "0001", "v1.2.4": "0002"}


async def test_no_image_takes_the_repository_of_another_project(desk: Desk) -> None:
    await desk.queued(name="owner/app/web")
    build_id = await desk.queued()
    await desk.handle(started(build_id), finished(build_id, SPLIT))
    build = await desk.build(build_id)
    assert build.state is BuildState.FAILED
    assert build.error == "The repository owner/app/web belongs to the project owner/app/web."
    assert len(await desk.history.builds.newest(project="owner/app")) == 1


@pytest.mark.parametrize(
    "parts",
    [(), (Part("", ""),), (Part("a", "a"), Part("a", "b")), (Part("a", "../b"),), (Part("a", "B"),)],
)
async def test_a_worker_that_tells_of_impossible_images_makes_no_builds(desk: Desk, parts: tuple[Part, ...]) -> None:
    build_id = await desk.queued()
    await desk.handle(started(build_id), finished(build_id, replace(SPLIT, parts=parts)))
    assert [build.state for build in await desk.history.builds.newest()] == [BuildState.FAILED]


async def test_a_build_that_was_cancelled_meanwhile_is_not_split(desk: Desk) -> None:
    build_id = await desk.queued()
    await desk.handle(started(build_id))
    await desk.history.builds.cancel(build_id)
    await desk.handle(finished(build_id, SPLIT))
    assert [build.state for build in await desk.history.builds.newest()] == [BuildState.CANCELLED]
