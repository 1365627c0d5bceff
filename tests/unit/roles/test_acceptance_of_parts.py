"""A commit with several images: its build becomes one of each, once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lumper.model.builds.build import BuildState, Outcome, Part, Result
from lumper.model.events import BuildJob, WorkerOnline
from lumper.model.trigger import Trigger
from parts.line.desk import Desk, digest, finished, started, success

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
