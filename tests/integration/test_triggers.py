"""What starts builds without a delivery, over real repositories, and what a commit keeps from being built."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from lumper.build.engines.dummy import DummyEngine
from lumper.build.port import Login
from lumper.build.run import Builder
from lumper.build.source.checkout import CheckoutRequest, Mirrors
from lumper.build.source.remotes import Remotes, parse_refs
from lumper.errors import GitUnreachable
from lumper.history.tables import builds as builds_table
from lumper.history.tables import projects
from lumper.model.activity import SERVER
from lumper.model.build import Base, BuildState, Outcome
from lumper.model.events import BuildJob
from lumper.model.masking import Masker
from lumper.model.people import Role
from lumper.model.secrets import Kind
from lumper.model.source import Push
from lumper.model.trigger import BuildRules, Trigger
from lumper.registry.remote.auth import Credentials
from lumper.registry.remote.lookup import Lookup
from lumper.registry.remote.registry import RemoteRegistry
from lumper.roles.bases import Bases
from lumper.roles.triggers import Triggers
from parts.git_repository import Repository
from parts.live_api import Api
from parts.live_registry import OCI_MANIFEST, LiveRegistry, digest_of, live_registry


@pytest.fixture
def origin(tmp_path: Path, api: Api) -> Repository:
    """A repository that the API may use by its path."""
    repository = Repository(tmp_path / "allowed/owner/app.git")
    repository.tag("v1.0.0", repository.commit({"Dockerfile": "FROM scratch\n"}), annotated=True)
    return repository


@pytest.fixture
def triggers(tmp_path: Path, api: Api) -> Triggers:
    return Triggers(api.history, Remotes(tmp_path / "git"))


async def add(api: Api, origin: Repository, **rules: object) -> str:
    answer = await api.ask("POST", "/projects", {"url": str(origin.path), "name": "app"})
    assert answer.status == 201, answer.body
    if rules:
        answer = await api.ask("PUT", "/projects/app/rules", rules)
        assert answer.status == 200, answer.body
    return str(answer.body["id"])


async def builds(api: Api) -> list[tuple[str, str, str]]:
    found = (await api.ask("GET", "/builds")).body
    return [(build["ref"], build["trigger"], build["state"]) for build in reversed(found)]


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


async def test_a_base_image_that_has_changed_brings_a_build_of_the_newest_tag_with_the_reason(
    api: Api, origin: Repository, tmp_path: Path
) -> None:
    await add(api, origin, base_images=True)
    origin.tag("v1.1.0", origin.commit({"Dockerfile": "FROM scratch\n", "a": "1"}))
    for tag in ("v1.0.0", "v1.1.0"):
        await api.ask("POST", "/projects/app/builds", {"ref": tag})
    (tmp_path / "bases").mkdir()
    async with live_registry(tmp_path / "bases", anonymous="push") as registry:
        bases = Bases(api.history, lookup(api, registry))
        name = f"{registry.host}/base:1"
        old = await push_image(registry, "base", "1", b"old")
        for build_id in (1, 2):
            await succeeded(api, (Base(name, old), Base("no.such.host.invalid/x:1", old)), build_id)
        await bases.check()
        assert await states(api) == ["succeeded", "succeeded"]
        new = await push_image(registry, "base", "1", b"new")
        for _ in range(2):
            await bases.check()
            assert await states(api) == ["succeeded", "queued"]
        build, _ = (await api.ask("GET", "/builds")).body
        await api.ask("POST", "/builds/2/cancel")
        await bases.check()
        assert await states(api) == ["succeeded", "cancelled"], "neither in vain again, nor an older tag instead"
    assert (build["trigger"], build["attempt"]) == ("base", 2)
    assert all(words in build["cause"] for words in (name, old, new))


async def test_a_private_base_image_is_asked_for_with_the_login_of_the_project(
    api: Api, origin: Repository, tmp_path: Path
) -> None:
    await add(api, origin, base_images=True)
    await api.ask("POST", "/projects/app/builds", {"ref": "v1.0.0"})
    (tmp_path / "bases").mkdir()
    async with live_registry(tmp_path / "bases") as registry:
        bases = Bases(api.history, lookup(api, registry))
        old = await push_image(registry, "base", "1", b"old")
        await succeeded(api, (Base(f"{registry.host}/base:1", old),))
        await push_image(registry, "base", "1", b"new")
        for project, password in (("", "wrong"), ("app", registry.tokens[Role.ADMIN])):  # the project's own wins
            await bases.check()
            assert await states(api) == ["succeeded"]
            await api.history.secrets.set(project, Kind.LOGIN, registry.host, password.encode(), username="bot")
        await bases.check()
    assert await states(api) == ["queued"]


async def test_a_base_image_of_our_own_registry_is_looked_up_there_by_each_of_its_names_and_is_not_pulled(
    api: Api, origin: Repository, tmp_path: Path
) -> None:
    await add(api, origin, base_images=True)
    await api.ask("POST", "/projects/app/builds", {"ref": "v1.0.0"})
    (tmp_path / "bases").mkdir()
    async with live_registry(tmp_path / "bases") as registry:
        bases = Bases(api.history, lookup(api, registry, own=("registry.example.org", "127.0.0.1:5080")))
        old = await push_image(registry, "base", "1", b"old")
        for number, host in enumerate(("registry.example.org", "127.0.0.1:5080")):
            await succeeded(api, (Base(f"{host}/app:1", "sha256:" + "0" * 64), Base(f"{host}/base:1", old)))
            await bases.check()
            assert await states(api) == ["succeeded"]
            old = await push_image(registry, "base", "1", b"new%d" % number)
            await bases.check()
            assert await states(api) == ["queued"]
        [shown] = (await api.ask("GET", "/builds")).body
        assert f"is {old} now" in shown["cause"]
        await registry.registry.pulls.flush()
        [tag] = await registry.registry.metadata.states_of("base", ["1"])
        assert tag.pulled_at is None


async def test_a_build_is_not_repeated_for_ever_that_is_from_its_own_image_or_in_a_circle_with_another(
    api: Api, origin: Repository, tmp_path: Path
) -> None:
    await add(api, origin, base_images=True)
    await api.ask("POST", "/projects/app/builds", {"ref": "v1.0.0"})
    (tmp_path / "bases").mkdir()
    async with live_registry(tmp_path / "bases") as registry:
        bases = Bases(api.history, lookup(api, registry, own=(registry.host,)))
        old = await push_image(registry, "app", "latest", b"old")
        await succeeded(api, (Base(f"{registry.host}/app:latest", old),))
        await push_image(registry, "app", "latest", b"new")
        await bases.check()
        assert await states(api) == ["succeeded"]
        await api.ask("POST", "/projects", {"url": str(origin.path), "name": "tool"})
        await api.ask("PUT", "/projects/tool/rules", {"base_images": True})
        await api.ask("POST", "/projects/tool/builds", {"ref": "v1.0.0"})
        rounds = [await one_round(api, registry, bases, number) for number in range(3)]
    assert rounds == [["queued", "succeeded"], *[["succeeded", "succeeded"]] * 2]


async def one_round(api: Api, registry: LiveRegistry, bases: Bases, number: int) -> list[str]:
    """What is built again of two images that are made from each other, once the first of them has been pushed."""
    for build_id, name, other in ((1, "app", "tool"), (2, "tool", "app")):
        build = await api.history.builds.get(build_id)
        if number == 0 or not build.state.final:
            there = await registry.registry.manifests.there(other, "latest")
            await push_image(registry, name, "latest", b"%d" % number)
            await succeeded(api, (Base(f"{registry.host}/{other}:latest", there),), build_id)
    await bases.check()
    return await states(api)


def lookup(api: Api, registry: LiveRegistry, own: tuple[str, ...] = ()) -> Lookup:
    """What knows the images of this registry, which has no TLS; it is ours, under these names."""

    def opened(url: str, credentials: Credentials | None) -> RemoteRegistry:
        return RemoteRegistry(url.replace("https://127.0.0.1", "http://127.0.0.1"), credentials)

    return Lookup(opened, api.history.secrets.login, registry.registry.manifests.there, own)


async def push_image(registry: LiveRegistry, repository: str, tag: str, content: bytes) -> str:
    """An image of one layer; its digest."""
    blobs, layer = registry.registry.blobs, digest_of(content)
    session = await blobs.begin(repository, "")
    await blobs.finish(session, layer, data=chunks(content))
    config = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": layer, "size": len(content)}
    body = json.dumps({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": []}).encode()
    return (await registry.registry.manifests.put(repository, tag, OCI_MANIFEST, body, actor=SERVER)).digest


async def chunks(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def succeeded(api: Api, bases: tuple[Base, ...], build_id: int = 1) -> None:
    """As if this build had ended well with these bases."""
    told = [vars(base) for base in bases]
    values = {"state": "succeeded", "bases": told, "digest": f"sha256:{build_id:064}"}
    async with api.history.database.write() as connection:
        await connection.execute(update(builds_table).where(builds_table.c.id == build_id).values(**values))


async def states(api: Api) -> list[str]:
    return [state for *_, state in await builds(api)]


# What the commit itself says


@pytest.fixture
def builder(tmp_path: Path) -> Builder:
    async def nobody(_project: str) -> None:
        return None

    async def login(_build: int, _attempt: int) -> Login:
        return Login("w", "t")

    return Builder(DummyEngine(), Mirrors(tmp_path / "mirrors"), "127.0.0.1:1", login, nobody, 60.0)


def job(origin: Repository, ref: str, commit: str, **more: Any) -> BuildJob:
    return BuildJob(1, 1, "p1", "app", str(origin.path), True, ref, commit, "app", "_build-1-1", **more)


DOCKERFILE = {"Dockerfile": "FROM scratch\n"}


async def outcome(builder: Builder, job: BuildJob) -> tuple[Outcome, str]:
    result = await builder.run(job, lambda _: None, Masker())
    return result.outcome, result.error


@pytest.mark.parametrize("words", ["[skip lumper]", "[Lumper Skip]"])
async def test_a_commit_that_asks_for_it_is_skipped_but_not_when_somebody_asks_for_the_build(
    origin: Repository, builder: Builder, words: str
) -> None:
    commit = origin.commit(DOCKERFILE, message=f"Fix a typo\n\n{words}")
    origin.tag("v5", commit)
    found, why = await outcome(builder, job(origin, "refs/tags/v5", commit))
    assert (found, "skip lumper" in why) == (Outcome.SKIPPED, True)
    by_hand = job(origin, "refs/tags/v5", commit, trigger=Trigger.MANUAL)
    assert (await outcome(builder, by_hand))[0] is Outcome.SUCCEEDED


@pytest.mark.parametrize(
    ("on", "changed", "skipped"),
    [
        ('paths = ["src/**"]', "src/main.c", False),
        ('paths = ["src/**"]', "README.md", True),
        ('paths = ["**", "!*.md"]', "README.md", True),
        ('branches = ["release/**"]', "src/main.c", True),
        ('tags = ["v*"]', "src/main.c", False),
    ],
)
async def test_the_recipe_narrows_what_is_built(
    origin: Repository, builder: Builder, on: str, changed: str, skipped: bool
) -> None:
    files = {**DOCKERFILE, "lumper.toml": f"[on]\n{on}\n"}
    before = origin.commit(files)
    after = origin.commit({**files, changed: "new"}, parent=before)
    found, _ = await outcome(builder, job(origin, "refs/heads/main", after, before=before))
    assert (found is Outcome.SKIPPED) is skipped


@pytest.mark.parametrize("before", ["", "0" * 40, "a" * 40])
async def test_where_the_commit_before_is_not_known_paths_keep_nothing_from_being_built(
    origin: Repository, builder: Builder, before: str
) -> None:
    commit = origin.commit({**DOCKERFILE, "lumper.toml": '[on]\npaths = ["src/**"]\n'})
    assert (await outcome(builder, job(origin, "refs/heads/main", commit, before=before)))[0] is Outcome.SUCCEEDED


@pytest.mark.parametrize(("left", "skipped"), [("src/main.c", False), ("README.md", True)])
async def test_after_a_forced_push_what_differs_from_the_commit_that_was_left_counts(
    origin: Repository, builder: Builder, left: str, skipped: bool
) -> None:
    files = {**DOCKERFILE, "lumper.toml": '[on]\npaths = ["src/**"]\n'}
    base = origin.commit(files)
    before = origin.commit({**files, left: "left"}, parent=base)
    await outcome(builder, job(origin, "refs/heads/main", before, before=base))
    after = origin.commit({**files, "docs/new.md": "new"}, parent=base)
    found, _ = await outcome(builder, job(origin, "refs/heads/main", after, before=before))
    assert (found is Outcome.SKIPPED) is skipped


async def test_a_skipped_build_ends_so_and_nobody_is_told(api: Api, origin: Repository) -> None:
    await add(api, origin)
    assert BuildState.SKIPPED.final
    rules = replace(BuildRules(), branches=("main",))
    assert (rules.builds("refs/heads/main"), rules.builds("refs/heads/x"), rules.builds("refs/pull/1")) == (
        True,
        False,
        False,
    )


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
