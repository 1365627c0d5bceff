"""One attempt of a build, from the job to the pushed image."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial

from lumper.build.agents import agents
from lumper.build.cache_mounts import namespace
from lumper.build.capabilities import needs, refuse
from lumper.build.credentials import check_given, with_entrusted
from lumper.build.failure.explain import explain
from lumper.build.failure.own_registry import grant_hint
from lumper.build.grants import Grants
from lumper.build.idle_timeout import Listener
from lumper.build.plan import MADE_ANEW, base_of, parameters, plan_build, private_image
from lumper.build.port import BuildRequest, Capability, Engine, Login, Pushed, Report
from lumper.build.pushing import push_image, push_or_rebuild
from lumper.build.reading import REBUILT, numbered_from, read_and_build
from lumper.build.recipe.asked import shorter, span, without_spare_caches
from lumper.build.recipe.recipe import Conditions, Recipe, Recipes, read_recipes
from lumper.build.recipe.skip import asks_to_skip, unwanted
from lumper.build.recipe.tag_templates import Moment, wanted_tags
from lumper.build.replication import BuiltImage, Copy, elsewhere, spread
from lumper.build.source.checkout import CheckoutRequest, Mirrors
from lumper.build.source.contents import Checkout
from lumper.build.source.full_source import Wanted
from lumper.errors import BuildFailed, BuildTimeout, EngineError, LumperError, StorageFull
from lumper.model.builds.build import Base, Outcome, Output, Part, Progress, Result, Step, StepState
from lumper.model.builds.masking import Masker
from lumper.model.builds.secrets import GivenSecrets, Needed
from lumper.model.events import BuildJob
from lumper.model.refs import short_name
from lumper.model.trigger import Trigger
from lumper.system.full_disk import no_space_left

GitCredentials = Callable[[str], Awaitable[tuple[str, str] | None]]
"""From a project's id to the user name and password for its git server."""

RegistryLogin = Callable[[int, int], Awaitable[Login]]
"""From a build's id and its attempt to what that attempt pushes with."""

Entrust = Callable[[int, int, Needed], Awaitable[GivenSecrets]]
"""From a build's id, its attempt and what that needs to what it is given."""


async def nothing(_build: int, _attempt: int, _needed: Needed) -> GivenSecrets:
    """What builds are given where nobody gives them anything."""
    return GivenSecrets()


CHECKOUT_STEP = 0  # the engine numbers its own steps from 1
FAILURE_STEP = 9999  # tells an error that no step of the engine's told


@dataclass(frozen=True)
class Builder:
    """What every attempt on this worker needs. `registry` is HOST:PORT as the engine reaches it."""

    engine: Engine
    mirrors: Mirrors
    registry: str
    login: RegistryLogin
    git_credentials: GitCredentials
    timeout: float
    push_timeout: float = 3600.0
    silence: float = 0.0
    grants: Grants = field(default_factory=Grants)
    entrust: Entrust = nothing
    copy: Copy | None = None

    async def run(self, job: BuildJob, report: Report, masker: Masker) -> Result:
        """Do the whole attempt; every error ends up in the result. Cancelling the task cancels the work.

        `masker` learns every secret before anything can print it; whoever keeps what is reported applies it.
        """
        attempt = _Attempt(self, job, report, masker)
        try:
            async with asyncio.timeout(self.timeout):
                await attempt.run()
        except TimeoutError:
            hint = "Its worker's [worker] build_timeout says so; `timeout` in lumper.toml cannot be more."
            attempt.fail(BuildTimeout(f"The build did not end within {span(self.timeout)}.", hint=hint))
        except LumperError as exc:
            attempt.fail(exc)
        except OSError as exc:  # such as of a temporary file
            if not no_space_left(exc):
                raise
            attempt.fail(StorageFull(f"There is no space left on the worker: {exc}."))
        result = attempt.result
        return replace(result, stages=attempt.stages, error=masker.mask(result.error), hint=masker.mask(result.hint))

    async def forget(self, job: BuildJob) -> None:
        """Take the name of the attempt's image from the engine, once all else is done: nobody has to wait for it.

        A name that stays is swept later (upkeep.py).
        """
        with contextlib.suppress(EngineError, OSError):
            await self.engine.remove(private_image(job, self.registry))


class _Attempt:
    """The course of one attempt: its stages, what the log was told, and the result so far."""

    def __init__(self, builder: Builder, job: BuildJob, report: Report, masker: Masker) -> None:
        self._builder = builder
        self._job = job
        self._tell = report
        self._masker = masker
        self._name = f"checkout {short_name(job.ref)} of {job.url}"
        self._failure_told = False
        self._bases: dict[str, Base] = {}
        self._given = GivenSecrets()
        self._agent = ""
        self._begun = datetime.now(UTC)
        self.stages: dict[str, int] = {}
        self.result = Result(Outcome.FAILED)

    async def run(self) -> None:
        """All stages. Raises LumperError."""
        self._step(CHECKOUT_STEP, self._name, StepState.RUNNING)
        async with contextlib.AsyncExitStack() as stack:
            try:
                with self._stage("checkout"):
                    checkout = await stack.enter_async_context(self._builder.mirrors.checkout(await self._source()))
                    if await self._skips(asks_to_skip(self._job, checkout.message), checkout):
                        return
                    recipes = await self._recipes(checkout)
                    if recipes.several and not self._job.recipe:
                        await self._split(recipes, checkout)
                        return
                    recipe = recipes.named(self._job.recipe)
                    await self._complete(checkout, recipes.source, recipe.context)
                    request = await self._request(recipe, checkout)
                    if await self._skips(
                        await self._unwanted(recipe.conditions, checkout) or self._untagged(recipe, checkout), checkout
                    ):
                        return
                    request = await self._fitting(recipe, await self._entrusted(recipe, request))
            except LumperError as exc:
                self._step(CHECKOUT_STEP, self._name, StepState.FAILED, exc.sentence)
                raise
            self._step(CHECKOUT_STEP, self._name, StepState.DONE)
            pushed = await self._build_and_push(request, recipe, checkout)
            names = await self._spread(recipe, checkout, pushed)
        self.result = replace(
            self.result,
            outcome=Outcome.SUCCEEDED,
            digest=pushed.digest,
            size=pushed.size,
            service=recipe.service,
            elsewhere=names,
            bases=tuple(self._bases.values()),
            parameters=parameters(recipe),
        )

    def fail(self, error: LumperError) -> None:
        """The attempt has failed, for a reason that the log must tell too."""
        if not self._failure_told:
            self._step(FAILURE_STEP, "the build failed", StepState.FAILED, error.sentence)
        self.result = replace(self.result, error=error.message, hint=error.hint, temporary=error.temporary)

    async def _source(self) -> CheckoutRequest:
        job = self._job
        credentials = await self._builder.git_credentials(job.project_id)
        if credentials is not None:
            username, password = credentials
            self._hide(password or username, "the password for git")
        return CheckoutRequest(
            project_id=job.project_id,
            url=job.url,
            local=job.local,
            ref=job.ref,
            commit=job.commit,
            credentials=credentials,
        )

    async def _unwanted(self, conditions: Conditions, checkout: Checkout) -> str:
        changed = await checkout.changed_since(self._job.before) if conditions.paths is not None else None
        return unwanted(self._job, conditions, changed)

    async def _split(self, recipes: Recipes, checkout: Checkout) -> None:
        """Say which images there are. The server makes a build of each, and this one that of the first."""
        if await self._skips(await self._unwanted(recipes.conditions, checkout), checkout):
            return
        parts = tuple(Part(recipe.name, recipe.image) for recipe in recipes.recipes)
        names = ", ".join(part.name for part in parts)
        self._report(Output(CHECKOUT_STEP, 0, time.time(), f"images: {names}; each is a build of its own"))
        self._step(CHECKOUT_STEP, self._name, StepState.DONE)
        self.result = replace(self.result, outcome=Outcome.SPLIT, parts=parts)

    def _moment(self, checkout: Checkout) -> Moment:
        """What templates of tags may speak of, the same in all stages."""
        scheduled = self._job.trigger == Trigger.SCHEDULE
        return Moment(self._job.ref, checkout.commit, self._begun, scheduled, checkout.committed_at)

    def _untagged(self, recipe: Recipe, checkout: Checkout) -> str:
        """Note the image tags that the recipe wants; why there are none, or ""."""
        if recipe.tags is None or self._job.verifies:
            return ""
        tags = wanted_tags(recipe.tags, recipe.flavor, self._moment(checkout))
        self.result = replace(self.result, tags=tags)
        self._report(Output(CHECKOUT_STEP, 0, time.time(), f"image tags: {', '.join(tags) or 'none'}"))
        return "" if tags else f"None of the `tags` of lumper.toml gives an image tag for {self._job.ref}."

    async def _skips(self, why: str, checkout: Checkout) -> bool:
        """Whether there is a reason not to build; then that is the result."""
        if why:
            self._say(f"skipped: {why}")
            self._step(CHECKOUT_STEP, self._name, StepState.DONE)
            self.result = replace(
                self.result, outcome=Outcome.SKIPPED, error=why, commit=checkout.commit, author=checkout.author
            )
        return bool(why)

    async def _recipes(self, checkout: Checkout) -> Recipes:
        self.result = replace(self.result, commit=checkout.commit, author=checkout.author)
        self._say(f"commit {checkout.commit} by {checkout.author}")
        return await read_recipes(checkout, self._job.project)

    async def _complete(self, checkout: Checkout, wanted: Wanted, context: str) -> None:
        await checkout.complete(wanted, self._say)
        for line in await checkout.left_out(context):
            self._say(line)

    async def _request(self, recipe: Recipe, checkout: Checkout) -> BuildRequest:
        request = await plan_build(self._job, recipe, checkout, self._builder.registry)
        if request.no_cache and not self._job.verifies:
            self._say(MADE_ANEW)
        job, grants = self._job, self._builder.grants
        caches = namespace(job.project, job.project_id, recipe.asked.cache_group, grants.cache_groups)
        dockerfile = await checkout.dockerfile_text(recipe.context, recipe.dockerfile)
        return grants.granted(replace(request, cache_mounts=caches), dockerfile)

    async def _entrusted(self, recipe: Recipe, request: BuildRequest) -> BuildRequest:
        """The request with what this attempt is given, and nothing of that can be seen in the log any more."""
        job, asked = self._job, recipe.asked
        needed = Needed(tuple(set(asked.secrets.values())), asked.ssh, bool(asked.push))
        given = await self._builder.entrust(job.build_id, job.attempt, needed)
        for name, value in given.values.items():
            self._hide(value, f"the secret {name}")
        for name, value in given.keys.items():
            self._hide(value, f"the ssh key {name}")
        for host, (_, password) in given.logins.items():
            self._hide(password, f"the password for {host}")
        self._agent = self._builder.grants.agent_of(job.project, job.ref)
        check_given(asked, given, job.project, job.ref, agent=bool(self._agent))
        self._given = given
        return with_entrusted(request, asked, given, await self._login(), (self._builder.registry, given.registry))

    async def _fitting(self, recipe: Recipe, request: BuildRequest) -> BuildRequest:
        """The request as this engine can do it. Raises EngineLacks.

        For credentials alone the engine is not asked, which would take time in each build: one that has no use for
        them passes them over.
        """
        if needs(request).keys() <= {Capability.LOGINS}:
            return request
        engine = await self._builder.engine.info()
        if Capability.LOGINS not in engine.capabilities:  # credentials that the build may do without
            request = replace(request, logins={})
        fitting = without_spare_caches(request, engine.capabilities) if recipe.asked.cache.spare else request
        if fitting != request:
            self._say("This engine cannot keep its cache in a registry: only the cache of its own is used.")
        refuse(fitting, engine)
        return fitting

    async def _build_and_push(self, request: BuildRequest, recipe: Recipe, checkout: Checkout) -> Pushed:
        build = partial(self._build, request, recipe, checkout)
        await build(self._report)
        rebuild = partial(build, numbered_from(REBUILT, self._report))
        return await push_or_rebuild(partial(self._push, request.image), rebuild, self._say)

    async def _push(self, image: str) -> Pushed:
        with self._stage("push"):
            timeout = self._builder.push_timeout
            return await push_image(self._builder.engine, image, self._login, self._report, timeout=timeout)

    async def _spread(self, recipe: Recipe, checkout: Checkout, pushed: Pushed) -> tuple[str, ...]:
        """Bring the image to the other registries that the recipe names; its names there.

        A build that verifies another does not.
        """
        if self._builder.copy is None or self._job.verifies or not recipe.asked.push:
            return ()
        places = elsewhere(recipe, self._moment(checkout), self._given)
        with self._stage("spread"):
            image = BuiltImage(self._job.image, pushed.digest, await self._login())
            return await spread(self._builder.copy, image, places, self._report, timeout=self._builder.push_timeout)

    async def _build(self, request: BuildRequest, recipe: Recipe, checkout: Checkout, report: Report) -> None:
        attend = partial(self._attend, recipe, checkout)
        try:
            with self._stage("build"):
                async with agents(self._given.keys, self._builder.timeout) as sockets:
                    keys = {**dict.fromkeys(recipe.asked.ssh, self._agent), **sockets}
                    await read_and_build(attend, replace(request, ssh=keys), report, self._say)
        except BuildFailed as exc:
            await explain(exc, checkout, recipe.context, request.dockerfile)
            own = {self._builder.registry, self._given.registry}
            exc.hint = grant_hint(exc.message, own, self._job.project) or exc.hint
            raise

    async def _attend(self, recipe: Recipe, checkout: Checkout, request: BuildRequest, report: Report) -> None:
        listener = Listener(report)
        archive = checkout.archive(recipe.context, request.dockerfile, folder=request.context_folder)
        silence = shorter(recipe.asked.silence, self._builder.silence)
        limit = asyncio.timeout(recipe.asked.timeout or None)
        try:
            async with limit:
                await listener.attend(self._builder.engine.build(request, archive, listener.report), silence)
        except TimeoutError as exc:
            if not limit.expired():
                raise
            words = f"The build did not end within {span(recipe.asked.timeout)}."
            raise BuildTimeout(words, hint="`timeout` in lumper.toml says so.") from exc

    async def _login(self) -> Login:
        login = await self._builder.login(self._job.build_id, self._job.attempt)
        self._hide(login.password, "the token to push with")
        return login

    def _hide(self, secret: str | bytes, name: str) -> None:
        """Keep a secret out of the log and of all that is told of the attempt."""
        if notice := self._masker.add(secret, name):
            self._report(Output(CHECKOUT_STEP, 0, time.time(), notice))

    def _report(self, record: Progress) -> None:
        if isinstance(record, Step) and record.state is StepState.FAILED:
            self._failure_told = True
        if isinstance(record, Step) and (base := base_of(record.name)):
            self._bases[base.name] = base
        self._tell(record)

    def _say(self, line: str) -> None:
        self._report(Output(CHECKOUT_STEP, 0, time.time(), line))

    def _step(self, number: int, name: str, state: StepState, error: str = "") -> None:
        self._report(Step(number, name, state, time.time(), error))

    @contextlib.contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        """Measure a stage in milliseconds, however it ends; what is done again counts again."""
        begun = time.monotonic()
        try:
            yield
        finally:
            self.stages[name] = self.stages.get(name, 0) + round((time.monotonic() - begun) * 1000)
