"""What is in use, whatever rules say, and what becomes of what retention gave up when it no longer is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import insert, update

from lumper.line.history import History, open_history
from lumper.model.images.activity import SERVER
from lumper.model.images.garbage import Sweep
from lumper.model.images.image import NewManifest
from lumper.model.links import Links
from lumper.model.source import Push, parse_git_url
from lumper.queue.codec import encode
from lumper.store.tables import builds, hosts, rollouts, services

NOW = datetime(2026, 1, 2, tzinfo=UTC)
OCI = "application/vnd.oci.image.manifest.v1+json"


def digest(number: int) -> str:
    return f"sha256:{number:064x}"


@pytest.fixture
async def history(tmp_path: Path) -> AsyncIterator[History]:
    links = Links("http://lumper.test", "lumper.test", "127.0.0.1:5080")
    opened = open_history(f"sqlite:///{tmp_path / 'lumper.db'}", tmp_path / "logs", links, encode)
    await opened.database.migrate()
    yield opened
    await opened.database.close()


async def built(history: History, name: str, tag: str, number: int, state: str = "succeeded") -> None:
    """A build of a project that ended with a digest."""
    known = {project.name: project for project in await history.projects.all()}
    project = known.get(name) or await history.projects.add(parse_git_url(f"https://git.example.org/{name}.git"))
    async with history.database.write() as connection:
        push = Push(name, f"refs/tags/{tag}", f"{number:040x}")
        build_id, _ = await history.builds.queue(connection, project, push)
        ended = update(builds).where(builds.c.id == build_id).values(state=state, digest=digest(number))
        await connection.execute(ended)


async def rolled_out(history: History, service: str, generation: int, number: int, state: str) -> None:
    """A rollout of a service."""
    async with history.database.write() as connection:
        if generation == 1:
            await connection.execute(insert(services).values(name=service, generation=1))
        values = {"service": service, "release": {}, "digest": digest(number), "generation": generation}
        await connection.execute(insert(rollouts).values(**values, state=state, created_at=NOW))


async def test_what_runs_is_about_to_run_or_was_built_last_is_in_use_and_says_why(history: History) -> None:
    for number, (name, tag, state) in enumerate(
        [
            ("a/app", "v1", "succeeded"),
            ("a/app", "v2", "succeeded"),
            ("a/app", "v3", "failed"),
            ("b", "v1", "succeeded"),
        ]
    ):
        await built(history, name, tag, number, state)
    for generation, state in enumerate(["succeeded", "succeeded", "failed", "running", "queued"], 1):
        await rolled_out(history, "web", generation, 10 + generation, state)
    async with history.database.write() as connection:
        seen = [{"digest": digest(20), "service": "old"}]
        await connection.execute(insert(hosts).values(name="local", observed_at=NOW, containers=seen))

    assert await history.images.in_use() == {
        digest(1): "the newest build of a/app",
        digest(3): "the newest build of b",
        digest(12): "the service web runs it",
        digest(14): "the service web runs it",
        digest(15): "the service web runs it",
        digest(20): "the service old runs it on local",
    }


async def test_retention_frees_old_builds_and_never_the_newest(history: History) -> None:
    for number in (1, 2):
        manifest = NewManifest(digest(number), OCI, 10, ())
        await history.images.put_manifest("a/app", manifest, [f"v{number}"], SERVER)
        await built(history, "a/app", f"v{number}", number)
    states = await history.images.tag_states("a/app")
    soon = datetime.now(UTC) + timedelta(minutes=1)

    assert await history.images.retire("a/app", states, "why") == ["v1"]

    assert [one.name for one in await history.images.garbage("a/app", Sweep(soon))] == [digest(1)]
    await rolled_out(history, "web", 1, 1, "queued")
    assert await history.images.garbage("a/app", Sweep(soon)) == []
