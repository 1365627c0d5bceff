"""The recipe of a work tree's commit, built into the local engine: the same checkout and request as on a worker."""

from __future__ import annotations

import hashlib
import os
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from lumper.build.capabilities import refuse
from lumper.build.failure.explain import explain
from lumper.build.grants import Grants
from lumper.build.local_names import CopyFrom, push_here, push_names, recipe_tags
from lumper.build.plan import LABEL, MADE_ANEW, made_anew, plan_build, version
from lumper.build.port import BuildRequest, Capability, Engine, Login, Report
from lumper.build.pushing import push_or_rebuild
from lumper.build.reading import read_and_build
from lumper.build.recipe.asked import Asked, without_spare_caches
from lumper.build.recipe.recipe import RECIPE_FILE, Recipe, read_recipes
from lumper.build.recipe.tag_templates import Moment
from lumper.build.source.checkout import CheckoutRequest, Mirrors
from lumper.build.source.contents import Checkout
from lumper.build.source.lending import Lenders, nobody
from lumper.errors import BuildFailed, Invalid, SecretMissing
from lumper.model.builds.build import Output, Progress
from lumper.model.events import BuildJob
from lumper.model.images.image import repository_name


@dataclass(frozen=True)
class Here:
    """A work tree: the root of its repository, a ref that has the commit, the commit, and where it was cloned from.

    With `changes`, `commit` has the files that were changed since, and lies in the repository of that path; `head` is
    the commit before it. The repositories here `lend` what submodules and Git LFS need.
    """

    root: Path
    ref: str
    commit: str
    origin: str = ""
    changes: Path | None = None
    head: str = ""
    lend: Lenders = nobody


@dataclass(frozen=True)
class Options:
    """What whoever builds here wants otherwise than the recipe says, and what a worker would be given.

    `secrets` and `ssh`, sockets of agents, are by their ids in the Dockerfile; `agent` is the socket for all other ids,
    "" for none. `logins` are by registry. `args` come on top of those of the recipe. `dockerfile` is the path of
    another one than the recipe says. `names` are what the image is called, with tag, in place of the folder's name;
    with `push` it goes to their registries, or to those of the recipe.
    """

    secrets: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    ssh: Mapping[str, str] = field(default_factory=dict)
    agent: str = ""
    logins: Mapping[str, Login] = field(default_factory=dict, repr=False)
    platforms: tuple[str, ...] = ()
    target: str = ""
    args: Mapping[str, str] = field(default_factory=dict)
    no_cache: bool = False
    pull: bool = False
    dockerfile: Path | None = None
    names: tuple[str, ...] = ()
    push: bool = False

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
            pull=self.pull or request.pull,
        )


@dataclass(frozen=True)
class Made:
    """What came of one recipe: the names with tag under which the engine has the image, and digests by pushed name."""

    recipe: str
    images: tuple[str, ...]
    pushed: Mapping[str, str] = field(default_factory=dict)


async def build_here(
    here: Here,
    mirrors: Mirrors,
    engine: Engine,
    report: Report,
    copy_from: CopyFrom,
    names: Sequence[str] = (),
    options: Options | None = None,
    grants: Grants | None = None,
) -> list[Made]:
    """Build the images of these names, or all of them, and push them if that is wanted.

    Raises LumperError: the first error ends it.
    """
    options = options or Options()
    identity = hashlib.sha256(str(here.root).encode()).hexdigest()[:20]
    source = str(here.changes or here.root)
    request = CheckoutRequest(
        identity, source, local=True, ref=here.ref, commit=here.commit, origin=here.origin, lend=here.lend
    )
    async with mirrors.checkout(request) as checkout:
        found = await read_recipes(checkout, here.root.name)
        await checkout.complete(found.source, partial(_say, report))
        known = {recipe.name: recipe for recipe in found.recipes}
        if unknown := [name for name in names if name not in known]:
            there = ", ".join(name for name in known if name) or "none with a name"
            raise Invalid(f"{RECIPE_FILE} has no image {unknown[0]!r}.", hint=f"It has: {there}.")
        wanted = [known[name] for name in names or known]
        if len(wanted) > 1 and (options.names or options.dockerfile):
            hint = f"Name one of them: {', '.join(known)}."
            raise Invalid(f"--tag and --file are for one image, and {len(wanted)} would be built.", hint=hint)
        workshop = _Workshop(here, checkout, engine, report, copy_from, options, grants or Grants())
        for line in dict.fromkeys([line for recipe in wanted for line in await checkout.left_out(recipe.context)]):
            _say(report, line)
        planned = [(recipe, workshop.places(recipe)) for recipe in map(workshop.chosen, wanted)]
        return [await workshop.make(recipe, places) for recipe, places in planned]


@dataclass(frozen=True)
class _Workshop:
    here: Here
    checkout: Checkout
    engine: Engine
    report: Report
    copy_from: CopyFrom
    options: Options
    grants: Grants

    def chosen(self, recipe: Recipe) -> Recipe:
        """The recipe with the Dockerfile that was named instead. Raises Invalid."""
        other = self.options.dockerfile
        if other is None:
            return recipe
        path, context = other.parent.resolve() / other.name, (self.here.root / recipe.context).resolve()
        if not path.is_relative_to(context):
            hint = "Its context is `context` of lumper.toml, or else the root of the repository."
            raise Invalid(f"{other} does not lie in the context {context}.", hint=hint)
        return replace(recipe, dockerfile=path.relative_to(context).as_posix())

    def places(self, recipe: Recipe) -> list[str]:
        """Where the image is to be pushed to. Raises Invalid."""
        moment = _moment(self.here, self.checkout)
        return push_names(recipe, moment, self.options.names) if self.options.push else []

    async def make(self, recipe: Recipe, places: Sequence[str]) -> Made:
        """Build once with a log, and then, from the cache, under each further name that the engine has to know."""
        image, local = await _request(self.here, self.checkout, recipe, self.options, self.grants)
        fitting = await _fitting(local, recipe, self.engine)
        if made_anew(recipe):
            _say(self.report, MADE_ANEW)
        first, *others = self.options.names or (image,)
        await self._build(replace(fitting, image=first), recipe, self.report)
        for name in others:
            await self._build(_again(fitting, name), recipe, _unheard)
        kept = (first, *others)
        return Made(recipe.name, kept, await self._pushed(fitting, recipe, kept, places) if places else {})

    async def _pushed(
        self, request: BuildRequest, recipe: Recipe, kept: Sequence[str], places: Sequence[str]
    ) -> dict[str, str]:
        push = partial(push_here, self.engine, places, self.options.logins, self.copy_from, self.report)
        build = partial(self._build, _again(request, places[0]), recipe, _unheard)
        if places[0] in kept:
            return await push_or_rebuild(push, build, partial(_say, self.report))
        try:
            await build()
            return await push_or_rebuild(push, build, partial(_say, self.report))
        finally:
            await self.engine.remove(places[0])

    async def _build(self, request: BuildRequest, recipe: Recipe, report: Report) -> None:
        async def attempt(request: BuildRequest, report: Report) -> None:
            archive = self.checkout.archive(recipe.context, request.dockerfile, folder=request.context_folder)
            await self.engine.build(request, archive, report)

        try:
            await read_and_build(attempt, request, report, partial(_say, report))
        except BuildFailed as exc:
            folder = self.here.root / recipe.context
            lies_about = partial(_lies, folder)
            await explain(exc, self.checkout, recipe.context, request.dockerfile, lies_about)
            raise


def _say(report: Report, line: str) -> None:
    report(Output(0, 0, time.time(), line))


def _lies(folder: Path, path: str) -> bool:
    return os.path.lexists(folder / path)


def _again(request: BuildRequest, name: str) -> BuildRequest:
    """The same under another name: it is all in the cache by now."""
    return replace(request, image=name, no_cache=False, pull=False)


def _unheard(_: Progress) -> None:
    """Nobody wants to read the log once more."""


async def _request(
    here: Here, checkout: Checkout, recipe: Recipe, options: Options, grants: Grants
) -> tuple[str, BuildRequest]:
    """The name of the image, and what the engine is asked for."""
    job = _job(here, recipe, checkout)
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


def _moment(here: Here, checkout: Checkout) -> Moment:
    return Moment(here.ref, here.head or checkout.commit, datetime.now(UTC), committed=checkout.committed_at)


def _job(here: Here, recipe: Recipe, checkout: Checkout) -> BuildJob:
    own = repository_name(here.root.name)
    tag = next(iter(recipe_tags(recipe, _moment(here, checkout))), "local")
    return BuildJob(
        build_id=0,
        attempt=1,
        project_id="",
        project=here.root.name,
        url=here.origin or str(here.root),
        local=True,
        ref=here.ref,
        commit=checkout.commit,
        image=f"{own}/{recipe.image}" if recipe.image else own,
        push_tag=f"{tag[:122]}-dirty" if here.changes else tag,
        recipe=recipe.name,
    )
