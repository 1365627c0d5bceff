"""The push, a stage of its own: what failed for a reason that passes is tried again, without building again.

Only an image that the engine has lost in between is built again.

The engine sends only layers that the registry does not have, so that each try goes on where the last one ended.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from lumper.build.port import Engine, Login, Pushed, Report
from lumper.build.recipe.asked import span
from lumper.errors import BuildTimeout, EngineError, ImageGone, PushFailed, RegistryFull
from lumper.model.builds.build import Step, StepState

_T = TypeVar("_T")

DELAYS = (1.0, 5.0, 20.0)  # seconds before the second try and those after it
LONGEST = 300.0  # seconds that a registry may ask to wait within an attempt
LOST_IMAGES = 2  # how often an image is built again in one attempt
FIRST_WAIT = 9001
"""Steps that tell of a wait are numbered from here."""


async def push_image(
    engine: Engine,
    image: str,
    login: Callable[[], Awaitable[Login | None]],
    report: Report,
    *,
    timeout: float,
    delays: Sequence[float] = DELAYS,
) -> Pushed:
    """Push, and again after each of `delays` while the reason may pass; each try signs in anew and has `timeout` s.

    A registry that says how long to wait is not asked earlier; if that is longer than LONGEST, another attempt of the
    build does it. Raises PushFailed, EngineUnavailable, BuildTimeout.
    """
    for number, delay in enumerate(delays):
        try:
            return await _push(engine, image, login, report, timeout)
        except EngineError as exc:
            asked = exc.retry_after if isinstance(exc, PushFailed) else 0.0
            full = isinstance(exc, RegistryFull)  # space takes longer to come than a push can wait
            if not exc.temporary or full or asked > LONGEST:
                raise
            wait = max(delay, asked)
        name = f"push again in {wait:g} s"
        report(Step(FIRST_WAIT + number, name, StepState.RUNNING, time.time()))
        await asyncio.sleep(wait)
        report(Step(FIRST_WAIT + number, name, StepState.DONE, time.time()))
    return await _push(engine, image, login, report, timeout)


async def push_or_rebuild(
    push: Callable[[], Awaitable[_T]], rebuild: Callable[[], Awaitable[object]], say: Callable[[str], None]
) -> _T:
    """Push an image that was built; one that the engine does not have any more is built again first. Raises as both do.

    Not only people remove images: when a Docker Engine lets go of the last name of an image, it removes with it the
    name that another build of the very same image has given to it in that moment. Source: moby, daemon/image_delete.go.
    """
    for _ in range(LOST_IMAGES):
        try:
            return await push()
        except ImageGone as exc:
            say(f"{exc.message} It is built again.")
        await rebuild()
    return await push()


async def _push(
    engine: Engine, image: str, login: Callable[[], Awaitable[Login | None]], report: Report, timeout: float
) -> Pushed:
    signed_in = await login()
    try:
        async with asyncio.timeout(timeout):
            return await engine.push(image, signed_in, report)
    except TimeoutError as exc:
        hint = "Raise [worker] push_timeout if the image is that large."
        raise BuildTimeout(f"The push did not end within {span(timeout)}.", hint=hint) from exc
