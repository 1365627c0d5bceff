from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from lumper.build.pinning import pins
from lumper.build.plan import base_of, build_request, built_again, plan_build, version
from lumper.build.port import BuildRequest, Cache
from lumper.build.recipe.asked import Asked
from lumper.build.recipe.recipe import Recipe
from lumper.errors import BuildFailed, DockerfileMissing
from lumper.model.builds.build import Base
from lumper.model.events import BuildJob
from lumper.model.trigger import Trigger
from parts.disks.held_files import HeldFiles

JOB = BuildJob(
    build_id=7,
    attempt=2,
    project_id="p1",
    project="owner/app",
    url="https://robot:s3cr3t@git.example.org/owner/app.git",
    local=False,
    ref="refs/tags/v1.2.3",
    commit="",
    image="owner/app",
    push_tag="_build-7-2",
)
RECIPE = Recipe(dockerfile="app.Dockerfile", context="sub", target="prod", args={"A": "1"})
MOMENT = datetime(2024, 1, 2, 4, 4, 5, tzinfo=timezone(timedelta(hours=1)))


def test_a_request_has_the_recipe_and_says_where_the_image_comes_from() -> None:
    assert build_request(JOB, RECIPE, "c" * 40, MOMENT, "127.0.0.1:5080") == BuildRequest(
        id="7-2",
        image="127.0.0.1:5080/owner/app:_build-7-2",
        dockerfile="app.Dockerfile",
        target="prod",
        args={"A": "1", "SOURCE_DATE_EPOCH": "1704164645"},
        labels={
            "org.opencontainers.image.created": "2024-01-02T03:04:05Z",
            "org.opencontainers.image.revision": "c" * 40,
            "org.opencontainers.image.source": "https://git.example.org/owner/app.git",
            "org.opencontainers.image.title": "app",
            "org.opencontainers.image.version": "1.2.3",
        },
    )


def test_a_recipe_may_have_another_time_than_the_commit() -> None:
    recipe = Recipe(args={"SOURCE_DATE_EPOCH": "0"})
    assert build_request(JOB, recipe, "c" * 40, MOMENT, "r").args == {"SOURCE_DATE_EPOCH": "0"}


def test_two_attempts_at_one_commit_ask_for_the_same_image() -> None:
    first, second = (
        build_request(job, RECIPE, "c" * 40, MOMENT, "r")
        for job in (JOB, replace(JOB, attempt=3, push_tag="_build-7-3"))
    )
    assert (first.labels, first.args) == (second.labels, second.args)


@pytest.mark.parametrize("trigger", list(Trigger))
def test_base_images_are_asked_for_anew_when_one_of_them_has_changed(trigger: Trigger) -> None:
    job = replace(JOB, trigger=trigger.value)
    assert build_request(job, RECIPE, "c" * 40, MOMENT, "r").pull is (trigger is Trigger.BASE)


def test_what_is_built_once_more_comes_from_the_same_bases_and_no_cache() -> None:
    base = Base("docker.io/library/alpine:3.20", "sha256:" + "ab" * 32)
    first = build_request(JOB, RECIPE, "c" * 40, MOMENT, "r")
    again = build_request(replace(JOB, verifies=6, bases=(base,)), RECIPE, "c" * 40, MOMENT, "r")
    assert again == replace(first, no_cache=True, bases=(base,))
    cached = replace(first, cache_from=(Cache("registry"),), cache_to=(Cache("inline"),))
    assert built_again(cached, (base,)) == again


@pytest.mark.parametrize(
    ("ref", "expected"),
    [
        ("refs/tags/v1.2.3", "1.2.3"),
        ("refs/tags/1.2.3", "1.2.3"),
        ("refs/tags/v1.2.3-rc.1", "1.2.3-rc.1"),
        ("refs/tags/v1.2.3+x", "1.2.3+x"),
        ("refs/tags/vanilla", "vanilla"),
        ("refs/tags/release/v1", "release/v1"),
        ("refs/heads/main", "main"),
    ],
)
def test_the_version_is_the_tag_without_its_v(ref: str, expected: str) -> None:
    assert version(ref) == expected


class Commit:
    """A commit with one Dockerfile."""

    commit = "c" * 40
    committed_at = MOMENT.astimezone(UTC)

    text = b"FROM scratch\n"

    async def dockerfile_text(self, context: str, dockerfile: str) -> bytes:
        """Only sub/app.Dockerfile is there."""
        if (context, dockerfile) != ("sub", "app.Dockerfile"):
            raise DockerfileMissing
        return self.text

    async def context_folder(self, context: str, dockerfile: str) -> str:
        """Its ignore file names the Dockerfile."""
        return f"beside {context}/{dockerfile}"

    async def files(self, context: str, dockerfile: str, folder: str) -> HeldFiles:
        """There are few."""
        return HeldFiles({}, key=f"key of {context}/{dockerfile} {folder}")


async def test_the_dockerfile_is_looked_for_before_the_engine_is_asked() -> None:
    request = await plan_build(JOB, RECIPE, Commit(), "r")
    assert (request.dockerfile, request.context_folder) == ("app.Dockerfile", "beside sub/app.Dockerfile")
    assert request.files is not None
    assert request.files.key == "key of sub/app.Dockerfile beside sub/app.Dockerfile"
    with pytest.raises(DockerfileMissing):
        await plan_build(JOB, Recipe(), Commit(), "r")


async def test_a_dockerfile_without_a_stage_never_reaches_an_engine_unless_another_reader_is_asked_for() -> None:
    commit = Commit()
    for head in ("", "# syntax=docker/dockerfile:1\n"):
        commit.text = f"{head}ARG A=1\n".encode()
        with pytest.raises(BuildFailed, match="has no FROM"):
            await plan_build(JOB, RECIPE, commit, "r")
    commit.text = b"# syntax=example.org/other\nwhatever: 1\n"
    assert await plan_build(JOB, RECIPE, commit, "r")


def test_a_base_image_is_known_also_where_its_digest_was_pinned() -> None:
    digest = "sha256:" + "ab" * 32
    for step in ("[build 1/3] FROM {}", "[1/2] FROM docker-image://{}", "[context alpine:3.20] {}"):
        assert base_of(step.format(f"docker.io/library/alpine:3.20@{digest}")) == Base(
            "docker.io/library/alpine:3.20", digest
        )
    assert base_of(f"[context alpine] load metadata for docker.io/library/alpine@{digest}") is None


@pytest.mark.parametrize(
    ("name", "context"),
    [
        ("docker.io/library/debian:12", "debian:12"),
        ("docker.io/owner/app:latest", "owner/app"),
        ("registry.test:5000/a/b:1", "registry.test:5000/a/b:1"),
        ("docker.io/library/debian:latest", ""),
        ("docker.io/library/debian", ""),
    ],
)
def test_a_base_is_pinned_under_the_name_by_which_parsers_look_for_it(name: str, context: str) -> None:
    wanted = {context: f"docker-image://{name}@sha256:ab"} if context else {}
    assert pins([Base(name, "sha256:ab")]) == wanted


@pytest.mark.parametrize(
    ("reproducible", "args", "anew"),
    [(False, {}, False), (True, {}, True), (True, {"SOURCE_DATE_EPOCH": "0"}, False), (True, {"A": "0"}, True)],
)
def test_nothing_of_an_earlier_commit_comes_into_what_is_to_be_reproducible(
    reproducible: bool, args: dict[str, str], anew: bool
) -> None:
    recipe = Recipe(args=args, asked=Asked(reproducible=reproducible))
    assert build_request(JOB, recipe, "c" * 40, MOMENT, "r").no_cache is anew
