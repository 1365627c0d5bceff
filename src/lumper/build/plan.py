"""From a job and its recipe to what the engine is asked for."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Protocol

from lumper.build.context.dockerfile import has_stage
from lumper.build.grants import is_official, syntax_image
from lumper.build.port import BuildRequest, Files
from lumper.build.recipe.recipe import Recipe
from lumper.errors import BuildFailed
from lumper.model.builds.build import Base
from lumper.model.events import BuildJob
from lumper.model.images.image import version_key
from lumper.model.refs import short_name
from lumper.model.source import parse_git_url
from lumper.model.trigger import Trigger

_FROM = re.compile(
    r"\[(?:context [^\]]*\]|[^\]]*\] FROM) (?:docker-image://)?(?P<name>[^\s@]{1,500})@(?P<digest>sha256:[0-9a-f]{64})"
)
EPOCH = "SOURCE_DATE_EPOCH"  # https://reproducible-builds.org/specs/source-date-epoch/; BuildKit 0.11 and newer heed it
MADE_ANEW = (
    "nothing comes out of the cache, because of `reproducible = true`; args with a fixed SOURCE_DATE_EPOCH would let it"
)
LABEL = "org.opencontainers.image"  # OCI image-spec 1.1, "Annotations", Pre-Defined Annotation Keys


class Facts(Protocol):
    """What is known of the commit."""

    @property
    def commit(self) -> str:
        """Its id."""

    @property
    def committed_at(self) -> datetime:
        """When it was committed."""

    async def dockerfile_text(self, context: str, dockerfile: str) -> bytes:
        """What it says. Raises DockerfileMissing unless there is such a file, inside of the repository."""

    async def context_folder(self, context: str, dockerfile: str) -> str:
        """The folder of the archive that is the context, "" for all of it. Raises RecipeError."""

    async def files(self, context: str, dockerfile: str, folder: str) -> Files | None:
        """What the archive has, one by one, if that is worth while. Raises DockerfileMissing, RecipeError."""


async def plan_build(job: BuildJob, recipe: Recipe, facts: Facts, registry_host: str) -> BuildRequest:
    """Check what can be checked before the engine is asked, and make the request.

    `registry_host` is HOST[:PORT] as the engine reaches it. Raises DockerfileMissing, RecipeError (the ignore file),
    BuildFailed for a Dockerfile without a stage.
    """
    text = await facts.dockerfile_text(recipe.context, recipe.dockerfile)
    reader = syntax_image(text, recipe.args)
    if not has_stage(text) and (not reader or is_official(reader)):
        hint = "Its first instruction has to be `FROM IMAGE`, or `FROM scratch`; only ARG may stand before it."
        raise BuildFailed(f"{recipe.dockerfile} has no FROM, so there is nothing to build.", hint=hint)
    folder = await facts.context_folder(recipe.context, recipe.dockerfile)
    request = build_request(job, recipe, facts.commit, facts.committed_at, registry_host)
    files = await facts.files(recipe.context, recipe.dockerfile, folder)
    return replace(request, context_folder=folder, files=files)


def build_request(
    job: BuildJob, recipe: Recipe, commit: str, committed_at: datetime, registry_host: str
) -> BuildRequest:
    """The request. Nothing in it depends on the clock, so the same commit gives the same image. Pure."""
    own = f"{registry_host}/{job.image}"
    request = BuildRequest(
        id=f"{job.build_id}-{job.attempt}",
        image=private_image(job, registry_host),
        dockerfile=recipe.dockerfile,
        target=recipe.target,
        args={EPOCH: str(int(committed_at.timestamp())), **recipe.args},
        labels={**labels(job, commit, committed_at), **recipe.labels},
        pull=job.trigger == Trigger.BASE,
        no_cache=made_anew(recipe),
    )
    asked = recipe.asked.put_into(request, own)
    return built_again(asked, job.bases) if job.verifies else asked


def made_anew(recipe: Recipe) -> bool:
    """Whether nothing may come out of a cache: what an earlier commit's build left there has times before this one's.

    Engines give files that are newer the time in SOURCE_DATE_EPOCH, and leave older ones. Where a recipe sets it to one
    that is earlier than any of its files, they all have that.
    """
    return recipe.asked.reproducible and EPOCH not in recipe.args


def private_image(job: BuildJob, registry_host: str) -> str:
    """The name of an attempt's image, for the engine and the push. Pure."""
    return f"{registry_host}/{job.image}:{job.push_tag}"


def built_again(request: BuildRequest, bases: tuple[Base, ...]) -> BuildRequest:
    """The same from these bases, with nothing out of a cache and nothing into one."""
    return replace(request, bases=bases, no_cache=True, cache_from=(), cache_to=())


def labels(job: BuildJob, commit: str, committed_at: datetime) -> dict[str, str]:
    """The standard labels: where the image comes from. `created` is the commit's time, as RFC 3339."""
    return {
        f"{LABEL}.created": committed_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        f"{LABEL}.revision": commit,
        f"{LABEL}.source": parse_git_url(job.url).url,
        f"{LABEL}.title": job.project.rpartition("/")[2],
        f"{LABEL}.version": version(job.ref),
    }


def parameters(recipe: Recipe) -> dict[str, Any]:
    """What the recipe asks for, as the provenance of the image tells it: nothing secret is in a recipe."""
    asked = {"context": recipe.context, "dockerfile": recipe.dockerfile, "target": recipe.target}
    return {**asked, "args": dict(recipe.args), "labels": dict(recipe.labels), **recipe.asked.told()}


def base_of(step: str) -> Base | None:
    """The base image that the name of a step tells of, once the engine has resolved its digest.

    >>> base_of("[build 1/3] FROM docker.io/library/alpine:3.20@sha256:" + "ab" * 32).name
    'docker.io/library/alpine:3.20'
    """
    match = _FROM.fullmatch(step)
    return Base(match["name"], match["digest"]) if match else None


def version(ref: str) -> str:
    """The version that a ref names: a tag without the `v` of `v1.2.3`, a branch by its name.

    >>> version("refs/tags/v1.2.3-rc.1")
    '1.2.3-rc.1'
    """
    name = short_name(ref)
    bare = name.removeprefix("v")
    return bare if version_key(bare.partition("-")[0]) else name
