"""What starts builds without a delivery, over real repositories: tags that were missed, schedules, people."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from lumper.build.source.checkout import CheckoutRequest, Mirrors
from lumper.build.source.remotes import Remotes, parse_refs
from lumper.errors import GitUnreachable
from lumper.model.source import Push
from lumper.roles.triggers import Triggers
from lumper.store.tables import projects
from parts.git.git_repository import Repository
from parts.git.local_project import add, builds, repository_of
from parts.web.live_api import Api


@pytest.fixture
def origin(api: Api) -> Repository:
    return repository_of(api)


@pytest.fixture
def triggers(tmp_path: Path, api: Api) -> Triggers:
    return Triggers(api.history, Remotes(tmp_path / "git"))


async def look_again(api: Api, triggers: Triggers) -> None:
    """As ten minutes later."""
    async with api.history.database.write() as connection:
        await connection.execute(update(projects).values(reconciled_at=datetime.now(UTC) - timedelta(hours=1)))
    await triggers.reconcile()


async def test_the_first_look_builds_no_old_tag_and_later_ones_what_was_missed(
    api: Api, origin: Repository, triggers: Triggers
) -> None:
    await add(api, origin)
    await triggers.reconcile()
    assert await builds(api) == []
    commit = origin.commit({"Dockerfile": "FROM scratch\n", "a": "1"})
    origin.tag("v1.1.0", commit, annotated=True)
    origin.tag("v1.0.1", commit)
    await triggers.reconcile()
    assert await builds(api) == [], "it is not looked at all the time"
    await look_again(api, triggers)
    missed = [("refs/tags/v1.0.1", "missed", "queued"), ("refs/tags/v1.1.0", "missed", "queued")]
    assert await builds(api) == missed
    await look_again(api, triggers)
    assert await builds(api) == missed


async def test_a_tag_that_a_delivery_told_of_by_either_id_was_not_missed(
    api: Api, origin: Repository, triggers: Triggers
) -> None:
    await add(api, origin)
    await triggers.reconcile()
    commit = origin.commit({"Dockerfile": "FROM scratch\n", "b": "2"})
    told = {"v2.0.0": origin.tag("v2.0.0", commit, annotated=True), "v2.0.1": commit}
    origin.tag("v2.0.1", commit, annotated=True)
    project = await api.history.projects.get("app")
    async with api.history.database.write() as connection:
        for tag, identity in told.items():
            await api.history.builds.queue(connection, project, Push("app", f"refs/tags/{tag}", identity))
    await look_again(api, triggers)
    assert [trigger for _, trigger, _ in await builds(api)] == ["push", "push"]


async def test_a_moved_tag_is_built_and_one_that_the_rules_leave_out_is_not(
    api: Api, origin: Repository, triggers: Triggers
) -> None:
    await add(api, origin, tags=["v*", "!*-rc.*"])
    await triggers.reconcile()
    commit = origin.commit({"Dockerfile": "FROM scratch\n", "c": "3"})
    for tag in ("v1.0.0", "v3.0.0-rc.1", "nightly"):
        origin.tag(tag, commit)
    await look_again(api, triggers)
    assert await builds(api) == [("refs/tags/v1.0.0", "missed", "queued")]


async def test_a_tag_that_was_moved_back_without_a_word_is_built_again(
    api: Api, origin: Repository, triggers: Triggers
) -> None:
    await add(api, origin)
    await triggers.reconcile()
    first, second = (origin.commit({"Dockerfile": f"FROM scratch\n# {number}\n"}) for number in range(2))
    for commit in (first, second, first, first):
        origin.tag("v2.0.0", commit)
        await look_again(api, triggers)
    assert await builds(api) == [("refs/tags/v2.0.0", "missed", state) for state in ("queued", "cancelled")]
    build = await api.history.builds.get(1)
    assert (build.commit, build.attempt, build.cause) == (first, 2, "No delivery told of this tag.")


async def test_one_look_starts_ten_builds_and_the_next_one_the_rest(
    api: Api, origin: Repository, triggers: Triggers
) -> None:
    await add(api, origin)
    await triggers.reconcile()
    for number in range(12):
        origin.tag(f"v2.0.{number}", origin.commit({"Dockerfile": f"FROM scratch\n# {number}\n"}))
    await look_again(api, triggers)
    assert [ref for ref, *_ in await builds(api)] == [f"refs/tags/v2.0.{number}" for number in range(10)]
    await look_again(api, triggers)
    assert len(await builds(api)) == 12


async def test_a_server_that_does_not_answer_is_asked_again_later(
    api: Api, origin: Repository, triggers: Triggers
) -> None:
    await add(api, origin)
    origin.path.rename(origin.path.with_name("gone.git"))
    await triggers.reconcile()
    assert await api.history.triggers.unreconciled(timedelta(minutes=10)) == []
    assert await builds(api) == []


async def test_a_schedule_builds_a_branch_and_then_again(api: Api, origin: Repository, triggers: Triggers) -> None:
    await add(api, origin, schedule="0 3 * * *", schedule_ref="refs/heads/main")
    await triggers.keep_schedules()
    assert await builds(api) == []
    await due(api)
    await triggers.keep_schedules()
    assert await builds(api) == [("refs/heads/main", "schedule", "queued")]
    await triggers.keep_schedules()
    await due(api)
    await triggers.keep_schedules()
    assert len(await builds(api)) == 1, "a build that has not begun is not queued twice"
    await api.ask("POST", "/builds/1/cancel")
    await due(api)
    await triggers.keep_schedules()
    [build] = (await api.ask("GET", "/builds")).body
    assert (build["attempt"], build["state"], "0 3 * * *" in build["cause"]) == (2, "queued", True)


async def test_a_schedule_whose_branch_is_gone_is_taken_and_the_others_are_kept(
    api: Api, origin: Repository, triggers: Triggers
) -> None:
    await add(api, origin, schedule="0 3 * * *", schedule_ref="refs/heads/gone")
    assert (await api.ask("POST", "/projects", {"url": str(origin.path), "name": "other"})).status == 201
    rules = {"schedule": "0 3 * * *", "schedule_ref": "refs/heads/main"}
    assert (await api.ask("PUT", "/projects/other/rules", rules)).status == 200
    await due(api)
    await triggers.keep_schedules()
    assert await builds(api) == [("refs/heads/main", "schedule", "queued")]
    assert await api.history.triggers.scheduled() == []


async def test_the_next_time_is_that_of_the_rules_of_now(api: Api, origin: Repository) -> None:
    await add(api, origin, schedule="0 3 * * *")
    await due(api)
    [project] = await api.history.triggers.scheduled()
    for schedule in ("0 3 1 1 *", ""):
        assert (await api.ask("PUT", "/projects/app/rules", {"schedule": schedule})).status == 200
        async with api.history.database.write() as connection:
            await api.history.triggers.take_schedule(connection, project.id)
            [time] = (await connection.execute(select(projects.c.next_schedule))).scalars()
        assert (time and (time.month, time.day)) == ((1, 1) if schedule else None)


async def due(api: Api) -> None:
    async with api.history.database.write() as connection:
        await connection.execute(update(projects).values(next_schedule=datetime.now(UTC)))


async def test_a_build_is_started_by_hand_by_tag_branch_or_full_name(api: Api, origin: Repository) -> None:
    await add(api, origin)
    for name, ref in (("v1.0.0", "refs/tags/v1.0.0"), ("main", "refs/heads/main"), ("refs/heads/main", None)):
        answer = await api.ask("POST", "/projects/app/builds", {"ref": name})
        assert (answer.status, answer.body["ref"]) == (201, ref or name)
        assert (answer.body["trigger"], answer.body["cause"]) == ("manual", "Asked for by operator.")
    assert len(await builds(api)) == 2
    for name, status in (("v9", 404), ("--upload-pack=x", 400), ("a..b", 400), ("", 400)):
        assert (await api.ask("POST", "/projects/app/builds", {"ref": name})).status == status, name


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ({"schedule": "every day"}, "cron"),
        ({"schedule": "61 * * * *"}, "cron"),
        ({"tags": [">=x"]}, "range of versions"),
        ({"schedule_ref": "main"}, "refs/heads/main"),
        ({"colour": "red"}, "colour"),
    ],
)
async def test_rules_that_are_none_are_refused(api: Api, origin: Repository, rules: dict[str, Any], words: str) -> None:
    await add(api, origin)
    answer = await api.ask("PUT", "/projects/app/rules", rules)
    assert (answer.status, words in answer.error) == (400, True)


async def test_rules_that_are_not_given_stay_as_they_are(api: Api, origin: Repository) -> None:
    await add(api, origin, branches=["main"], schedule="0 3 * * *")
    rules = (await api.ask("PUT", "/projects/app/rules", {"tags": ["v*"]})).body["rules"]
    assert (rules["tags"], rules["branches"], rules["schedule"]) == (["v*"], ["main"], "0 3 * * *")
    assert (await api.ask("GET", "/projects/app")).body["rules"] == rules


async def test_a_newer_commit_of_a_ref_ends_the_build_of_the_older_one_and_no_other(
    api: Api, origin: Repository
) -> None:
    await add(api, origin, branches=["**"])
    project = await api.history.projects.get("app")
    for ref, commit in (
        ("refs/heads/main", "a"),
        ("refs/heads/main", "b"),
        ("refs/tags/v1", "a"),
        ("refs/heads/x", "c"),
    ):
        async with api.history.database.write() as connection:
            await api.history.builds.queue(connection, project, Push("app", ref, commit * 40))
        if ref == "refs/heads/main" and commit == "a":
            await api.start(1)
    states = {build["id"]: build["state"] for build in (await api.ask("GET", "/builds")).body}
    assert states == {1: "running", 2: "queued", 3: "queued", 4: "queued"}
    row = await api.history.builds.get(1)
    assert "newer commit" in row.hint


# git ls-remote


def test_a_listing_is_read_with_suspicion() -> None:
    commit, tag = "a" * 40, "b" * 40
    listing = (
        f"{tag}\trefs/tags/v1\n{commit}\trefs/tags/v1^{{}}\n{commit}\trefs/heads/main\n"
        f"{commit}\trefs/tags/-x\n{commit}\trefs/tags/a..b\nnonsense\nzz\trefs/tags/v2\n{commit}\trefs/pull/1/head\n"
    )
    found = parse_refs(listing.encode())
    assert {ref: one.ids for ref, one in found.items()} == {
        "refs/tags/v1": (tag, commit),
        "refs/heads/main": (commit, commit),
    }


async def test_a_repository_that_is_not_there_is_an_error(api: Api, origin: Repository, tmp_path: Path) -> None:
    await add(api, origin)
    project = replace(await api.history.projects.get("app"), url="http://127.0.0.1:1/x.git", local=False)
    with pytest.raises(GitUnreachable):
        await Remotes(tmp_path / "git").refs(project)
    request = CheckoutRequest("p1", project.url, False, "refs/tags/v1")
    with pytest.raises(GitUnreachable):
        async with Mirrors(tmp_path / "mirrors").checkout(request):
            raise AssertionError
