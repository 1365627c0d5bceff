"""What builds are given: sealed at rest, listed without values, opened for the attempt that goes on."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from lumper.errors import Conflict, Invalid, NotFound, StorageError
from lumper.line.history import History
from lumper.model.builds.secrets import MOST_BYTES, Kind, Needed, registry_host
from lumper.model.images.activity import Actor
from lumper.model.source import Project, Push, parse_git_url
from lumper.store.sealing import Sealer
from lumper.store.tables import builds, secrets
from lumper.system.secret_files import make_key

VALUE = b"s3cr3t-of-npm"
KEY = b"-----BEGIN PRIVATE KEY-----\nMC4CAQAw\n-----END PRIVATE KEY-----\n"


async def build(history: History, project: Project, ref: str = "refs/tags/v1") -> int:
    async with history.database.write() as connection:
        return (await history.builds.queue(connection, project, Push("owner/app", ref, "a" * 40)))[0]


async def sealed(history: History) -> list[Any]:
    async with history.database.read() as connection:
        return list(await connection.execute(select(secrets).order_by(secrets.c.id)))


async def test_a_secret_is_kept_sealed_and_listed_without_its_value(history: History, project: Project) -> None:
    made = await history.secrets.set("owner/app", Kind.VALUE, "npm", VALUE, actor=Actor("ann", "admin", "::1"))
    assert (made.project, made.name, made.changed_by, made.branches) == ("owner/app", "npm", "ann", ())
    assert await history.secrets.all() == [made]
    (row,) = await sealed(history)
    assert VALUE not in row.sealed
    assert len(row.sealed) == len(VALUE) + 12 + 16


async def test_a_build_is_given_what_it_asks_for_and_no_more(history: History, project: Project) -> None:
    for name in ("npm", "other"):
        await history.secrets.set("owner/app", Kind.VALUE, name, name.encode())
    await history.secrets.set(project.id, Kind.SSH, "default", KEY)
    given = await history.secrets.entrusted(await build(history, project), 1, Needed(("npm", "none"), ("default",)))
    assert given.values == {"npm": b"npm"}
    assert given.keys == {"default": KEY}
    assert given.refused == frozenset()
    assert "npm" not in repr(given)


async def test_a_secret_is_of_one_project(history: History, project: Project) -> None:
    other = await history.projects.add(parse_git_url("https://git.example.org/owner/other.git"))
    await history.secrets.set("owner/app", Kind.VALUE, "npm", VALUE)
    given = await history.secrets.entrusted(await build(history, other), 1, Needed(("npm",)))
    assert given.values == {}
    assert await history.secrets.all("owner/other") == []


async def test_another_value_takes_the_place_of_the_first(history: History, project: Project) -> None:
    for value in (b"one", b"two"):
        await history.secrets.set("owner/app", Kind.VALUE, "npm", value)
    given = await history.secrets.entrusted(await build(history, project), 1, Needed(("npm",)))
    assert given.values == {"npm": b"two"}
    assert len(await sealed(history)) == 1


async def test_builds_of_branches_are_given_only_what_is_for_their_branch(history: History, project: Project) -> None:
    await history.secrets.set("owner/app", Kind.VALUE, "tags", b"1")
    await history.secrets.set("owner/app", Kind.VALUE, "main", b"2", branches=["main", "release/**"])
    await history.secrets.set("owner/app", Kind.LOGIN, "r.example.com", b"3", username="bot", branches=["**"])
    await history.secrets.set("owner/app", Kind.LOGIN, "t.example.com", b"3", username="bot")
    wanted = Needed(("tags", "main"))
    of_tag = await history.secrets.entrusted(await build(history, project), 1, wanted)
    of_main = await history.secrets.entrusted(await build(history, project, "refs/heads/main"), 1, wanted)
    of_any = await history.secrets.entrusted(await build(history, project, "refs/heads/x/y"), 1, wanted)
    assert [set(given.values) for given in (of_tag, of_main, of_any)] == [{"tags", "main"}, {"main"}, set()]
    assert [given.refused for given in (of_tag, of_main, of_any)] == [set(), {"tags"}, {"tags", "main"}]
    hosts = {"r.example.com", "t.example.com"}
    assert [set(given.logins) for given in (of_tag, of_main)] == [hosts, {"r.example.com"}]


async def test_a_login_of_the_project_wins_over_one_of_all_projects(history: History, project: Project) -> None:
    await history.secrets.set("owner/app", Kind.LOGIN, "Docker.io", b"own", username="app")
    await history.secrets.set("", Kind.LOGIN, "index.docker.io", b"all", username="everyone")
    await history.secrets.set("", Kind.LOGIN, "r.example.com:5000", b"x", username="everyone")
    given = await history.secrets.entrusted(await build(history, project), 1, Needed())
    assert given.logins == {"docker.io": ("app", "own"), "r.example.com:5000": ("everyone", "x")}


async def test_an_attempt_that_has_ended_is_given_nothing(history: History, project: Project) -> None:
    await history.secrets.set("owner/app", Kind.VALUE, "npm", VALUE)
    build_id = await build(history, project)
    for attempt in (0, 2):
        with pytest.raises(Conflict):
            await history.secrets.entrusted(build_id, attempt, Needed(("npm",)))
    async with history.database.write() as connection:
        await connection.execute(update(builds).values(state="failed", finished_at=datetime.now(UTC)))
    with pytest.raises(Conflict):
        await history.secrets.entrusted(build_id, 1, Needed(("npm",)))


async def test_what_was_sealed_for_one_use_opens_for_no_other(history: History, project: Project) -> None:
    await history.secrets.set("owner/app", Kind.VALUE, "npm", VALUE)
    async with history.database.write() as connection:
        await connection.execute(update(secrets).values(name="other"))
    with pytest.raises(StorageError, match="cannot be read with the key"):
        await history.secrets.entrusted(await build(history, project), 1, Needed(("other",)))


async def test_without_its_key_a_secret_is_lost_and_the_error_says_what_to_do(
    history: History, project: Project, tmp_path: Path
) -> None:
    await history.secrets.set("owner/app", Kind.VALUE, "npm", VALUE)
    (tmp_path / "keys" / "secrets.key").unlink()
    with pytest.raises(StorageError) as caught:
        await history.secrets.entrusted(await build(history, project), 1, Needed(("npm",)))
    assert "backup" in caught.value.hint


async def test_what_no_ssh_agent_takes_is_refused_at_once(history: History, project: Project) -> None:
    with pytest.raises(Invalid, match="is no private key") as refused:
        await history.secrets.set("owner/app", Kind.SSH, "default", b"ssh-ed25519 AAAA ann@laptop\n")
    assert "ssh-keygen" in refused.value.hint


async def test_secrets_go_by_hand_and_with_their_project(history: History, project: Project) -> None:
    await history.secrets.set("owner/app", Kind.VALUE, "npm", VALUE)
    await history.secrets.set("owner/app", Kind.SSH, "npm", KEY)
    await history.secrets.set("", Kind.LOGIN, "r.example.com", b"x", username="bot")
    await history.secrets.remove("owner/app", Kind.VALUE, "npm")
    with pytest.raises(NotFound):
        await history.secrets.remove("owner/app", Kind.VALUE, "npm")
    assert [each.kind for each in await history.secrets.all("owner/app")] == [Kind.LOGIN, Kind.SSH]
    await history.projects.remove("owner/app")
    assert [each.kind for each in await history.secrets.all()] == [Kind.LOGIN]
    await history.secrets.remove("", Kind.LOGIN, "R.example.com")
    assert await history.secrets.all() == []


async def test_the_activity_log_tells_who_set_and_removed_it(history: History, project: Project) -> None:
    ann = Actor("ann", "admin", "::1")
    await history.secrets.set("owner/app", Kind.VALUE, "npm", VALUE, actor=ann)
    await history.secrets.set("", Kind.LOGIN, "r.example.com", VALUE, username="bot", actor=ann)
    await history.secrets.remove("owner/app", Kind.VALUE, "npm", ann)
    told = [(each.actor.name, each.detail) for each in await history.activity.activities(oldest_first=True)]
    assert told == [
        ("ann", "value npm of owner/app: set"),
        ("ann", "login r.example.com of all projects: set"),
        ("ann", "value npm of owner/app: removed"),
    ]


@pytest.mark.parametrize(
    ("kind", "name", "value", "more"),
    [
        (Kind.VALUE, "", b"x", {}),
        (Kind.VALUE, "a b", b"x", {}),
        (Kind.VALUE, "../x", b"x", {}),
        (Kind.VALUE, "-x", b"x", {}),
        (Kind.VALUE, "x" * 65, b"x", {}),
        (Kind.VALUE, "x", b"", {}),
        (Kind.VALUE, "x", b"x" * (MOST_BYTES + 1), {}),
        (Kind.VALUE, "x", b"x", {"branches": [""]}),
        (Kind.VALUE, "x", b"x", {"branches": [">=x"]}),
        (Kind.LOGIN, "r.example.com/app", b"x", {"username": ""}),
        (Kind.LOGIN, "r.example.com", b"x", {"username": "a:b"}),
        (Kind.LOGIN, "r.example.com", b"x", {"username": "a\nb"}),
        (Kind.LOGIN, "r.example.com", b"\xff", {"username": "a"}),
        (Kind.LOGIN, "-o.example.com", b"x", {"username": "a"}),
        (Kind.LOGIN, "user@r.example.com", b"x", {"username": "a"}),
    ],
)
async def test_what_is_no_secret_is_refused(
    history: History, project: Project, kind: Kind, name: str, value: bytes, more: dict[str, Any]
) -> None:
    with pytest.raises(Invalid):
        await history.secrets.set("owner/app", kind, name, value, **more)
    assert await sealed(history) == []


async def test_only_logins_are_of_all_projects_and_a_project_must_be_there(history: History) -> None:
    with pytest.raises(Invalid, match="all projects"):
        await history.secrets.set("", Kind.VALUE, "npm", VALUE)
    with pytest.raises(NotFound):
        await history.secrets.set("no/such", Kind.VALUE, "npm", VALUE)
    with pytest.raises(NotFound):
        await history.secrets.all("no/such")


async def test_tags_that_a_higher_version_has_are_told_where_they_are_asked_for(
    history: History, project: Project
) -> None:
    for ref, tags in (("refs/tags/v1.3.0", ["1.3.0", "1.3", "1", "latest"]), ("refs/tags/v1.1.0", ["1.1.0", "1.1"])):
        build_id = await build(history, project, ref)
        async with history.database.write() as connection:
            done = {"state": "succeeded", "tags": tags}
            await connection.execute(update(builds).where(builds.c.id == build_id).values(done))
    build_id = await build(history, project, "refs/tags/v1.2.4")
    assert (await history.secrets.entrusted(build_id, 1, Needed())).taken == frozenset()
    given = await history.secrets.entrusted(build_id, 1, Needed(taken=True))
    assert given.taken == {"1.3.0", "1.3", "1", "latest"}


def test_the_key_is_made_once_for_its_owner_only(tmp_path: Path) -> None:
    file = tmp_path / "keys" / "secrets.key"
    key = make_key(file)
    assert make_key(file) == key
    assert len(key) == 32
    assert file.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in file.parent.iterdir()] == ["secrets.key"]
    one, other = Sealer(file).seal(VALUE, "x"), Sealer(file).seal(VALUE, "x")
    assert one != other
    assert Sealer(file).open(one, "x") == VALUE
    for wrong in (b"", one[:20], one[:-1] + bytes([one[-1] ^ 1])):
        with pytest.raises(StorageError):
            Sealer(file).open(wrong, "x")
    file.write_text("x")
    with pytest.raises(StorageError):
        Sealer(file).seal(VALUE, "x")


@pytest.mark.parametrize(
    ("host", "kept"),
    [
        ("registry-1.docker.io", "docker.io"),
        ("https://index.docker.io/v1/", "docker.io"),
        ("[::1]:5000", "[::1]:5000"),
        (" R.Example.com ", "r.example.com"),
    ],
)
def test_a_registry_has_one_name(host: str, kept: str) -> None:
    assert registry_host(host) == kept
