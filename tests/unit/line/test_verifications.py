"""A build that is built again to see whether the same image comes out: what is told, and what stays untouched."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from lumper.errors import Conflict, NotFound
from lumper.line.history import History
from lumper.model.builds.build import Attested, Base, BuildState, Outcome, Result
from lumper.model.builds.lease import MOST_LOST
from lumper.model.builds.verification import Difference, Verified
from lumper.model.deployment import Service
from lumper.model.events import (
    AttemptFinished,
    AttemptStarted,
    BuildJob,
    BuildReport,
    Payload,
    RolloutJob,
    StatusDue,
    WorkerOnline,
)
from lumper.model.images.garbage import GarbageKind, Sweep
from lumper.model.images.image import NewManifest, private_tag
from lumper.model.source import Person, Project, Push
from lumper.model.trigger import Trigger
from lumper.roles.acceptance import Acceptance
from parts.line.desk import NOW, OCI, digest, sent

BASE = Base("docker.io/library/alpine:3.20", "sha256:" + "ab" * 32)
IMAGE = "owner/app"


@dataclass
class Desk:
    """The server's side with one build that gave the image 1, from one base image."""

    history: History
    acceptance: Acceptance
    project: Project
    first: int = 0

    async def push(self, commit: str) -> int:
        async with self.history.database.write() as connection:
            push = Push(IMAGE, "refs/tags/v1.0.0", commit * 40, pusher=Person("ann"))
            build_id, _ = await self.history.builds.queue(connection, self.project, push)
        return build_id

    async def end(self, build_id: int, result: Result, attempt: int = 1, worker: str = "w") -> None:
        """A worker begins the attempt and ends it so; what it has given lies under its private tag."""
        if result.digest:
            manifest = NewManifest(result.digest, OCI, 400, ())
            await self.history.images.put_manifest(IMAGE, manifest, [private_tag(build_id, attempt)])
        await self.acceptance.handle(AttemptStarted(build_id, attempt, "c", worker, "boot", NOW))
        end = NOW + timedelta(seconds=9)
        await self.acceptance.handle(AttemptFinished(build_id, attempt, "c", end, 0, result))

    async def sent(self) -> list[Payload]:
        """What is to be published since the last call."""
        return await sent(self.history)

    async def verified(self) -> Verified:
        found = await self.history.verifications.of(await self.history.builds.get(self.first))
        assert found is not None
        return found.state

    async def summary(self) -> str:
        found = await self.history.verifications.of(await self.history.builds.get(self.first))
        return found.summary if found else ""

    async def all_tags(self) -> dict[str, str]:
        """Also private ones."""
        names = [tag.name for tag in await self.history.images.tags(IMAGE) or []]
        names += [private_tag(number, attempt) for number in range(1, 9) for attempt in range(1, 9)]
        found = [await self.history.images.tag(IMAGE, name) for name in names]
        return {tag.name: tag.digest for tag in found if tag is not None}


def success(number: int, *bases: Base, service: Service | None = None) -> Result:
    tags = None if service is None else ("1.0.0",)
    return Result(
        Outcome.SUCCEEDED, "c" * 40, Person("Ada"), digest(number), 400, bases=bases, service=service, tags=tags
    )


@pytest.fixture
async def desk(history: History, project: Project) -> Desk:
    await history.builds.online(WorkerOnline("w", "boot", 100))
    await history.projects.set_forge(project.id, "gitea", "https://git.example.org", "token", "7")
    made = Desk(history, Acceptance(history), project)
    made.first = await made.push("a")
    await made.end(made.first, success(1, BASE))
    await made.sent()
    return made


async def test_the_second_build_gets_the_same_bases_and_runs_on_another_worker(desk: Desk) -> None:
    await desk.history.builds.online(WorkerOnline("other", "boot", 1))
    begun = await desk.history.verifications.begin(desk.first)
    [job] = [one for one in await desk.sent() if isinstance(one, BuildJob)]
    assert (job.build_id, job.verifies, job.bases) == (begun.by, desk.first, (BASE,))
    assert (job.commit, job.ref, job.trigger) == ("a" * 40, "refs/tags/v1.0.0", "verify")
    assert (await desk.history.builds.get(begun.by)).worker == "other"


async def test_the_same_digest_is_reproducible_and_nothing_else_happens(desk: Desk) -> None:
    tags = await desk.all_tags()
    begun = await desk.history.verifications.begin(desk.first)
    await desk.end(begun.by, success(1, BASE, service=Service("shop")))
    assert await desk.verified() is Verified.REPRODUCIBLE
    assert await desk.all_tags() == tags
    told = [one for one in await desk.sent() if isinstance(one, BuildReport | StatusDue | RolloutJob)]
    assert told == []
    assert [build.id for build, _ in await desk.history.origins.waiting(Attested.NOTHING)] == [desk.first]
    first = await desk.history.origins.build_of(IMAGE, digest(1))
    assert first is not None
    assert first.id == desk.first
    assert await desk.history.images.in_use() == {digest(1): "the newest build of owner/app"}


async def test_another_digest_is_compared_and_then_leaves_nothing(desk: Desk) -> None:
    tags = await desk.all_tags()
    begun = await desk.history.verifications.begin(desk.first)
    await desk.end(begun.by, success(2, BASE))
    assert await desk.verified() is Verified.COMPARING
    later = datetime.now(UTC) + timedelta(days=9)
    garbage = [one.kind for one in await desk.history.images.garbage(IMAGE, Sweep(later))]
    assert garbage == []  # while it is compared
    [(waiting, second)] = await desk.history.verifications.comparing()
    assert (waiting.digest, waiting.other, second.id) == (digest(1), digest(2), begun.by)

    difference = Difference("layer 1", "linux/amd64", what=("x",))
    await desk.history.verifications.decided(second, Verified.DIFFERS, "It differs.", [difference])

    found = await desk.history.verifications.of(await desk.history.builds.get(desk.first))
    assert found is not None
    assert (found.state, found.differences) == (Verified.DIFFERS, (difference,))
    assert await desk.all_tags() == tags
    garbage_names = [(one.kind, one.name) for one in await desk.history.images.garbage(IMAGE, Sweep(later))]
    assert garbage_names == [(GarbageKind.MANIFEST, digest(2))]


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (Result(Outcome.FAILED, error="Step 2 failed."), "It could not be verified: build 2 failed: Step 2 failed."),
        (Result(Outcome.SKIPPED, error="Not wanted."), "It could not be verified: build 2 was skipped: Not wanted."),
        (Result(Outcome.SPLIT), "several images"),
        (
            success(2, Base(BASE.name, digest(9))),
            f"the base image {BASE.name} was {BASE.digest} then and is {digest(9)} now",
        ),
    ],
    ids=["failed", "skipped", "split", "another base"],
)
async def test_without_an_image_to_compare_it_says_why(desk: Desk, result: Result, words: str) -> None:
    begun = await desk.history.verifications.begin(desk.first)
    assert begun.by == 2
    await desk.end(begun.by, result)
    assert await desk.verified() is Verified.UNKNOWN
    assert words in await desk.summary()
    assert private_tag(begun.by, 1) not in await desk.all_tags()
    assert not [one for one in await desk.sent() if isinstance(one, BuildReport | StatusDue)]


async def test_a_cancelled_one_is_not_verified(desk: Desk) -> None:
    begun = await desk.history.verifications.begin(desk.first)
    await desk.acceptance.handle(AttemptStarted(begun.by, 1, "c", "w", "boot", NOW))
    await desk.history.builds.cancel(begun.by)
    end = AttemptFinished(begun.by, 1, "c", NOW, 0, Result(Outcome.CANCELLED, error="Cancelled."))
    await desk.acceptance.handle(end)
    assert await desk.verified() is Verified.UNKNOWN
    assert "was cancelled" in await desk.summary()


async def test_a_lost_worker_s_attempt_begins_again_and_the_last_one_ends_it(desk: Desk) -> None:
    begun = await desk.history.verifications.begin(desk.first)
    for attempt in range(1, MOST_LOST + 1):
        assert await desk.verified() is Verified.BUILDING
        await desk.acceptance.handle(AttemptStarted(begun.by, attempt, "c", "w", f"boot{attempt}", NOW))
        await desk.acceptance.handle(WorkerOnline("w", f"boot{attempt + 1}", 100, at=NOW + timedelta(hours=attempt)))
    assert (await desk.history.builds.get(begun.by)).state is BuildState.FAILED
    assert await desk.verified() is Verified.UNKNOWN


async def test_to_verify_twice_at_once_is_to_wait_for_the_same_and_later_is_a_new_attempt(desk: Desk) -> None:
    begun = await desk.history.verifications.begin(desk.first)
    assert await desk.history.verifications.begin(desk.first) == begun
    await desk.end(begun.by, success(1))
    again = await desk.history.verifications.begin(desk.first)
    assert (again.by, again.state) == (begun.by, Verified.BUILDING)
    assert (await desk.history.builds.get(begun.by)).attempt == 2
    await desk.end(begun.by, success(1), attempt=2)
    assert await desk.verified() is Verified.REPRODUCIBLE


async def test_only_a_build_with_an_image_that_is_there_is_verified(desk: Desk) -> None:
    begun = await desk.history.verifications.begin(desk.first)
    with pytest.raises(Conflict, match=f"itself verifies build {desk.first}"):
        await desk.history.verifications.begin(begun.by)
    with pytest.raises(Conflict, match="only verifies"):
        await desk.history.builds.restart(begun.by)
    with pytest.raises(NotFound):
        await desk.history.verifications.begin(99)
    waiting = await desk.push("b")
    with pytest.raises(Conflict, match="no image to verify: it is queued"):
        await desk.history.verifications.begin(waiting)
    await desk.end(begun.by, success(1))
    await desk.history.images.delete_manifest(IMAGE, digest(1))
    with pytest.raises(NotFound, match="not in the registry any more"):
        await desk.history.verifications.begin(desk.first)


async def test_pushes_and_second_builds_leave_each_other_alone(desk: Desk) -> None:
    begun = await desk.history.verifications.begin(desk.first)
    newer = await desk.push("b")  # of the same ref
    assert (await desk.history.builds.get(begun.by)).state is BuildState.QUEUED
    assert await desk.push("a") == desk.first
    assert [build.id for build in await desk.history.builds.of_push(desk.first)] == [desk.first]
    assert newer not in (desk.first, begun.by)


async def test_what_was_verified_is_told_of_that_image_only(desk: Desk) -> None:
    begun = await desk.history.verifications.begin(desk.first)
    await desk.end(begun.by, success(1))
    await desk.history.builds.restart(desk.first, Trigger.MANUAL)
    await desk.end(desk.first, success(3), attempt=2)
    assert await desk.history.verifications.of(await desk.history.builds.get(desk.first)) is None
    of_second = await desk.history.verifications.of(await desk.history.builds.get(begun.by))
    assert of_second is not None
    assert of_second.digest == digest(1)
