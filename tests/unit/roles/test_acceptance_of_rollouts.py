"""What the server makes of a service that was built, of how its rollout goes on, and of what hosts run."""

from __future__ import annotations

from datetime import timedelta

from lumper.model.builds.build import BuildState
from lumper.model.deployment import Container, ContainerState, RolloutState, Service
from lumper.model.events import (
    BuildReport,
    HostObserved,
    RolloutJob,
    RolloutProgress,
    RolloutReport,
)
from parts.line.desk import NOW, Desk, digest, finished, started, success


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
