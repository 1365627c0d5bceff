"""What a commit itself says keeps it from being built: its message, and the [on] of its recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lumper.build.engines.dummy import DummyEngine
from lumper.build.port import Login
from lumper.build.run import Builder
from lumper.build.source.checkout import Mirrors
from lumper.model.builds.build import Outcome
from lumper.model.builds.masking import Masker
from lumper.model.events import BuildJob
from lumper.model.trigger import Trigger
from parts.git.git_repository import Repository

# What the commit itself says


@pytest.fixture
def origin(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "app.git")


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
