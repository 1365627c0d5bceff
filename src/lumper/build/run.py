"""One attempt of a build, from the job to the pushed image."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from lumper.build.checkout import Checkout, CheckoutRequest, Mirrors
from lumper.build.plan import plan_build
from lumper.build.port import BuildRequest, Engine, Login, Pushed, Report
from lumper.build.recipe import Recipe, read_recipe
from lumper.errors import BuildTimeout, EngineError, LumperError
from lumper.model.build import Outcome, Output, Result, Step, StepState
from lumper.model.events import BuildJob

GitCredentials = Callable[[str], Awaitable[tuple[str, str] | None]]
"""From a project's id to the user name and password for its git server."""

CHECKOUT_STEP = 0  # the engine numbers its own steps from 1


@dataclass(frozen=True)
class Builder:
    """What every attempt on this worker needs. `registry` is HOST:PORT as the engine reaches it."""

    engine: Engine
    mirrors: Mirrors
    registry: str
    login: Login
    git_credentials: GitCredentials
    timeout: float

    async def run(self, job: BuildJob, report: Report) -> Result:
        """Do the whole attempt; every error ends up in the result. Cancelling the task cancels the work."""
        stages: dict[str, int] = {}
        try:
            async with asyncio.timeout(self.timeout):
                return await self._run(job, report, stages)
        except TimeoutError:
            minutes = self.timeout / 60
            error: LumperError = BuildTimeout(f"The build did not end within {minutes:g} minutes.")
        except LumperError as exc:
            error = exc
        report(Output(CHECKOUT_STEP, 0, time.time(), f"ERROR: {error.sentence}"))
        return Result(
            Outcome.FAILED, error=error.message, hint=error.hint, temporary=error.temporary, stages=dict(stages)
        )

    async def _run(self, job: BuildJob, report: Report, stages: dict[str, int]) -> Result:
        clock = time.monotonic()

        def lap(stage: str) -> None:
            nonlocal clock
            stages[stage] = round((time.monotonic() - clock) * 1000)
            clock = time.monotonic()

        name = f"checkout {job.ref.removeprefix('refs/tags/')} of {job.url}"
        report(Step(CHECKOUT_STEP, name, StepState.RUNNING, time.time()))
        source = CheckoutRequest(
            project_id=job.project_id,
            url=job.url,
            local=job.local,
            ref=job.ref,
            commit=job.commit,
            credentials=await self.git_credentials(job.project_id),
        )
        async with self.mirrors.checkout(source) as checkout:
            result = Result(Outcome.FAILED, commit=checkout.commit, author=checkout.author)
            try:
                recipe = await read_recipe(checkout, job.project)
                request = await plan_build(job, recipe, checkout, self.registry)
                report(Output(CHECKOUT_STEP, 0, time.time(), f"commit {checkout.commit} by {checkout.author}"))
                report(Step(CHECKOUT_STEP, name, StepState.DONE, time.time()))
                lap("checkout")
                pushed = await self._build_and_push(request, recipe, checkout, report, lap)
            except LumperError as exc:
                report(Output(CHECKOUT_STEP, 0, time.time(), f"ERROR: {exc.sentence}"))
                return replace(result, error=exc.message, hint=exc.hint, temporary=exc.temporary, stages=stages)
            return replace(
                result,
                outcome=Outcome.SUCCEEDED,
                digest=pushed.digest,
                size=pushed.size,
                service=recipe.service,
                stages=stages,
            )

    async def _build_and_push(
        self, request: BuildRequest, recipe: Recipe, checkout: Checkout, report: Report, lap: Callable[[str], None]
    ) -> Pushed:
        await self.engine.build(request, checkout.archive(recipe.context, request.dockerfile), report)
        lap("build")
        try:
            pushed = await self.engine.push(request.image, self.login, report)
        finally:
            with contextlib.suppress(EngineError):  # a name that stays is swept at the worker's next start
                await self.engine.remove(request.image)
        lap("push")
        return pushed
