"""The recipe of a work tree's commit, built into the local engine: the same checkout and request as on a worker."""

from __future__ import annotations

import hashlib
import os
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from lumper.build.asked import Asked, without_spare_caches
from lumper.build.capabilities import refuse
from lumper.build.checkout import CheckoutRequest, Mirrors
from lumper.build.contents import Checkout
from lumper.build.explain import explain
from lumper.build.grants import Grants
from lumper.build.plan import LABEL, plan_build, version
from lumper.build.port import BuildRequest, Capability, Engine, Login, Report
from lumper.build.reading import read_and_build
from lumper.build.recipe import RECIPE_FILE, Recipe, read_recipes
from lumper.build.tag_templates import Moment, wanted_tags
from lumper.errors import BuildFailed, Invalid, SecretMissing
from lumper.model.build import Output
from lumper.model.events import BuildJob
from lumper.model.image import branch_tags, image_tags, repository_name
from lumper.model.trigger import BRANCH_PREFIX, TAG_PREFIX


@dataclass(frozen=True)
class Here:
    """A work tree: the root of its repository, a ref that has the commit, the commit, and where it was cloned from.

    With `changes`, `commit` has the files that were changed since, and lies in the repository of that path; `head` is
    the commit before it.
    """

    root: Path
    ref: str
    commit: str
    origin: str = ""
    changes: Path | None = None
    head: str = ""


@dataclass(frozen=True)
class Options:
    """What whoever builds here wants otherwise than the recipe says, and what a worker would be given.

    `secrets` and `ssh`, sockets of agents, are by their ids in the Dockerfile; `agent` is the socket for all other ids,
    "" for none. `logins` are by registry. `args` come on top of those of the recipe.
    """

    secrets: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    ssh: Mapping[str, str] = field(default_factory=dict)
    agent: str = ""
    logins: Mapping[str, Login] = field(default_factory=dict, repr=False)
    platforms: tuple[str, ...] = ()
    target: str = ""
    args: Mapping[str, str] = field(default_factory=dict)
    no_cache: bool = False

    def put_into(self, request: BuildRequest, asked: Asked) -> BuildRequest:
        """The request with all of this. Pure. Raises SecretMissing for what the recipe asks for and nobody gives."""
        if missing := [key for key in asked.secrets if key not in self.secrets]:
            words = f"lumper.toml asks for the secret {missing[0]}, which has to be given here."
            raise SecretMissing(words, hint=f"--secret id={missing[0]},src=FILE or --secret id={missing[0]},env=NAME")
        ssh = {**dict.fromkeys(asked.ssh, self.agent), **self.ssh}
        if lacking := [key for key, socket in ssh.items() if not socket]:
            words = f"The build asks for the ssh agent {lacking[0]}, and there is none."
            raise SecretMissing(words, hint="Start one: eval $(ssh-agent); ssh-add; or give --ssh ID=SOCKET.")
        return replace(
            request,
            secrets=dict(self.secrets),
            ssh=ssh,
            logins=dict(self.logins),
            platforms=self.platforms or request.platforms,
            target=self.target or request.target,
            args={**request.args, **self.args},
            no_cache=self.no_cache or request.no_cache,
        )


async def build_here(
    here: Here,
    mirrors: Mirrors,
    engine: Engine,
    report: Report,
    names: Sequence[str] = (),
    options: Options | None = None,
    grants: Grants | None = None,
) -> list[str]:
    """Build the images of these names, or all of them; the names with tag under which the engine has them now.

    Raises LumperError: the first error ends it.
    """
    identity = hashlib.sha256(str(here.root).encode()).hexdigest()[:20]
    source = str(here.changes or here.root)
    request = CheckoutRequest(identity, source, local=True, ref=here.ref, commit=here.commit)
    async with mirrors.checkout(request) as checkout:
        found = await read_recipes(checkout, here.root.name)
        await checkout.complete(found.source, lambda _: None)
        known = {recipe.name: recipe for recipe in found.recipes}
        if unknown := [name for name in names if name not in known]:
            there = ", ".join(name for name in known if name) or "none with a name"
            raise Invalid(f"{RECIPE_FILE} has no image {unknown[0]!r}.", hint=f"It has: {there}.")
        images = []
        for name in names or known:
            image, local = await _request(here, checkout, known[name], options or Options(), grants or Grants())
            fitting = await _fitting(local, known[name], engine)
            await _build(here, checkout, fitting, known[name].context, engine, report)
            images.append(image)
        return images


async def _build(
    here: Here, checkout: Checkout, request: BuildRequest, context: str, engine: Engine, report: Report
) -> None:
    async def attempt(request: BuildRequest, report: Report) -> None:
        archive = checkout.archive(context, request.dockerfile, folder=request.context_folder)
        await engine.build(request, archive, report)

    try:
        await read_and_build(attempt, request, report, lambda line: report(Output(0, 0, time.time(), line)))
    except BuildFailed as exc:
        folder = here.root / context
        await explain(exc, checkout, context, request.dockerfile, lambda path: os.path.lexists(folder / path))
        raise


async def _request(
    here: Here, checkout: Checkout, recipe: Recipe, options: Options, grants: Grants
) -> tuple[str, BuildRequest]:
    """The name of the image, and what the engine is asked for."""
    job = _job(here, recipe, checkout.commit)
    planned = await plan_build(job, recipe, checkout, "localhost")
    image = f"{job.image}:{job.push_tag}"
    local = replace(planned, id=uuid.uuid4().hex, image=image, labels=_labels(here, planned.labels))
    local = options.put_into(local, recipe.asked)
    return image, grants.granted(local, await checkout.dockerfile_text(recipe.context, recipe.dockerfile))


async def _fitting(request: BuildRequest, recipe: Recipe, engine: Engine) -> BuildRequest:
    """The request as the engine can do it; caches of the project's own repository are not to be had here."""
    info = await engine.info()
    if recipe.asked.cache.spare:
        request = without_spare_caches(request, info.capabilities - {Capability.CACHE_EXPORT})
    if Capability.LOGINS not in info.capabilities:
        request = replace(request, logins={})
    refuse(request, info)
    return request


def _labels(here: Here, labels: Mapping[str, str]) -> Mapping[str, str]:
    """With changes that are not committed, the labels say so."""
    if here.changes is None:
        return labels
    dirty = {f"{LABEL}.revision": here.head, f"{LABEL}.version": f"{version(here.ref)}+dirty"}
    return {**labels, **dirty}


def _job(here: Here, recipe: Recipe, commit: str) -> BuildJob:
    own = repository_name(here.root.name)
    tag = _tag(recipe, here.ref, commit)
    return BuildJob(
        build_id=0,
        attempt=1,
        project_id="",
        project=here.root.name,
        url=here.origin or str(here.root),
        local=True,
        ref=here.ref,
        commit=commit,
        image=f"{own}/{recipe.image}" if recipe.image else own,
        push_tag=f"{tag[:122]}-dirty" if here.changes else tag,
        recipe=recipe.name,
    )


def _tag(recipe: Recipe, ref: str, commit: str) -> str:
    """The first of the tags that the image would get in the registry."""
    if recipe.tags is not None:
        found = wanted_tags(recipe.tags, recipe.flavor, Moment(ref, commit, datetime.now(UTC)))
    elif ref.startswith(TAG_PREFIX):
        found = image_tags(ref.removeprefix(TAG_PREFIX))
    else:
        found = branch_tags(ref.removeprefix(BRANCH_PREFIX))
    return found[0] if found else "local"
