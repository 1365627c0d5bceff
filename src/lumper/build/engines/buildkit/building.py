"""One build, from its context to the exporter's answer: the same over every link."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress

from grpclib.const import Status
from grpclib.exceptions import GRPCError, StreamTerminatedError
from h2.exceptions import ProtocolError

from lumper.build.engines.buildkit.cache import prune_cache
from lumper.build.engines.buildkit.errors import build_error, exit_code_alone, is_lost, is_syntax_step
from lumper.build.engines.buildkit.groups import Groups
from lumper.build.engines.buildkit.link import Link
from lumper.build.engines.buildkit.progress import ProgressReader
from lumper.build.engines.buildkit.proto.control_pb2 import SolveRequest
from lumper.build.engines.buildkit.request import MOBY, Exporter, solve_request
from lumper.build.engines.buildkit.session.context import INCREMENTAL_FROM, Source, source
from lumper.build.engines.buildkit.session.services import Service, services
from lumper.build.engines.buildkit.session.shared_keys import SharedKeys
from lumper.build.engines.buildkit.status import Following
from lumper.build.engines.buildkit.transport.control import STANDING_BY, Control
from lumper.build.port import BuildRequest, Report
from lumper.errors import EngineError, FrontendUnavailable
from lumper.model.builds.build import Progress, Step, StepState

BROKEN = (StreamTerminatedError, ProtocolError, OSError)
"""How grpclib shows that a connection is no more."""

END_TIMEOUT = 10.0
"""Seconds that the engine may take to end a cancelled step, or may be silent before it has told all of a build."""

_LOOK = 0.5  # seconds between two looks whether anything was told

START_TIME = 0.2
"""How long, in seconds, a step must have been running before a cancellation is handed on, because Engine 26.1
(BuildKit 0.13) never ends a program that is cancelled in the moment in which it is about to start."""


class Building:
    """Builds over one link. `frontend_time` is how long, in seconds, a syntax image may be looked for.

    Streams of `incremental_from` bytes and more are sent file by file, and whatever is built for several platforms: of
    a stream BuildKit makes one state for all of them, and writes to its map from several threads, which has ended a
    Docker Engine 28 ("concurrent map writes"). Source: buildkit, frontend/dockerui, MainContext; client/llb, addCap.
    """

    def __init__(self, link: Link, frontend_time: float, incremental_from: int = INCREMENTAL_FROM) -> None:
        self._link = link
        self._incremental_from = incremental_from
        self._frontend_time = frontend_time
        self._groups = Groups()
        self._keys = SharedKeys()
        self._gets_stuck: bool | None = None

    def can_limit(self) -> bool:
        """Whether this machine's kernel can limit the engine's steps for us. It asks the engine's socket."""
        return self._groups.shared_with(self._link.address.path)

    async def prune(self, keep: int) -> int:
        """As Engine.prune."""
        try:
            return await prune_cache(self._link, keep)
        finally:
            self._keys.renew()

    async def run(
        self,
        request: BuildRequest,
        context: AsyncIterator[bytes],
        report: Report,
        *,
        exporter: Exporter = MOBY,
        more: Sequence[Service] = (),
    ) -> Mapping[str, str]:
        """Build; what the exporter tells of the result. `more` is offered in the session. Raises as Engine.build."""
        repository, folder = request.image.rpartition(":")[0], request.context_folder
        place = f"{repository} {request.dockerfile} {folder}"
        try:
            async with (
                source(
                    context,
                    request.files,
                    folder,
                    0 if len(request.platforms) > 1 else self._incremental_from,
                    self._keys,
                    place,
                    own_times=request.no_cache or request.rewrite_timestamp,
                ) as found,
                self._groups.group(repository, request.limits) as group,
            ):
                offered = [found.service, *services(request), *more]
                return await self._run(request, found, report, exporter, offered, group)
        finally:
            await close_context(context)

    async def _run(
        self,
        request: BuildRequest,
        found: Source,
        report: Report,
        exporter: Exporter,
        offered: Sequence[Service],
        group: str,
    ) -> Mapping[str, str]:
        starts = _Starts(report, self._frontend_time)
        progress = ProgressReader(starts.report)
        control, spare = self._link.control(), self._link.control(STANDING_BY)
        try:
            async with control, spare:
                await control.connect()
                if self._gets_stuck is None:
                    self._gets_stuck = await control.gets_stuck()
                session = await self._link.session(offered, found.shared_key)
                ref = uuid.uuid4().hex
                told = Following(ref, control, spare if self._gets_stuck else None, progress)
                following = asyncio.create_task(told.follow())
                cancelled = False
                try:
                    message = solve_request(
                        request, ref=ref, session=session.id, context=found.url, exporter=exporter, group=group
                    )
                    async with starts.limit:
                        return await _solve(control, message, starts)
                except asyncio.CancelledError:
                    cancelled = True
                    raise
                finally:
                    told.over.set()
                    await session.close()  # first, or a cancelled build waits for the rest of its context
                    await end_following(following, None if cancelled else progress)
                    progress.settle()
        except (GRPCError, *BROKEN) as exc:
            self._gets_stuck = None  # it may come back as another version
            if isinstance(exc, TimeoutError) and starts.limit.expired():
                text = f"The syntax image {request.frontend} did not come within {self._frontend_time:g} s."
                raise FrontendUnavailable(text) from exc
            raise found.failure or self._failure(exc, request, progress) from exc
        finally:
            progress.finish()

    def _failure(self, exc: Exception, request: BuildRequest, progress: ProgressReader) -> EngineError:
        text = (exc.message or "") if isinstance(exc, GRPCError) else str(exc)
        gone = not isinstance(exc, GRPCError) or exc.status is Status.UNAVAILABLE or is_lost(text)
        if gone and not progress.failures:
            return self._link.address.lost(text)
        line = exc.details or 0 if isinstance(exc, GRPCError) else 0
        if request.frontend and not progress.failures and (code := exit_code_alone(text)):
            text = (
                f"The syntax image {request.frontend} ended with exit code {code}: it may be no reader of Dockerfiles."
            )
            return FrontendUnavailable(text)
        return build_error(text, progress.failures, request.dockerfile, line)


class _Starts:
    """Passes progress on and keeps in mind when a step began last. `limit` ends what waits for a syntax image."""

    def __init__(self, report: Report, frontend_time: float) -> None:
        self._report = report
        self._frontend_time = frontend_time
        self._last = 0.0
        self.limit = asyncio.timeout(None)

    def report(self, record: Progress) -> None:
        if isinstance(record, Step) and record.state is StepState.RUNNING:
            self._last = time.monotonic()
        if isinstance(record, Step) and is_syntax_step(record.name):
            end = asyncio.get_running_loop().time() + self._frontend_time if record.state is StepState.RUNNING else None
            with suppress(RuntimeError):  # the build has ended, and this is the rest of its story
                self.limit.reschedule(end)
        self._report(record)

    @property
    def left(self) -> float:
        """Seconds until the step that began last has been running long enough, at most START_TIME."""
        return max(0.0, self._last + START_TIME - time.monotonic())


async def _solve(control: Control, message: SolveRequest, starts: _Starts) -> Mapping[str, str]:
    """Solve; being cancelled reaches the engine when no step is just about to start."""
    solving = asyncio.create_task(control.solve(message))
    try:
        await asyncio.wait((solving,))
    except asyncio.CancelledError:
        while starts.left and not solving.done():
            await asyncio.wait((solving,), timeout=starts.left)
        raise
    finally:
        solving.cancel()
        await asyncio.wait((solving,))
        failure = None if solving.cancelled() else solving.exception()
    if failure is not None:
        raise failure
    return solving.result()


async def end_following(
    following: asyncio.Task[None], progress: ProgressReader | None, timeout: float = END_TIMEOUT
) -> None:
    """Wait until the engine has told everything: then the programs of all steps have ended, cancelled ones too.

    What a step prints fast may take the engine longer to tell than to execute: with `progress`, only `timeout` seconds
    of silence end the wait, and the log says that something is missing.
    """
    try:
        if progress is None:
            await asyncio.wait((following,), timeout=timeout)
        elif not await _tells_all(following, progress, timeout):
            progress.lose()
    finally:
        following.cancel()
    await asyncio.wait((following,))
    with suppress(GRPCError, *BROKEN, EngineError, asyncio.CancelledError):
        following.result()


async def _tells_all(following: asyncio.Task[None], progress: ProgressReader, timeout: float) -> bool:
    heard, since = progress.messages, time.monotonic()
    while not following.done():
        await asyncio.wait((following,), timeout=_LOOK)
        if progress.messages > heard:
            heard, since = progress.messages, time.monotonic()
        elif time.monotonic() - since > timeout:
            return following.done()
    return True


async def close_context(context: AsyncIterator[bytes]) -> None:
    """Let a generator run its `finally` now, wherever the build left it."""
    close = getattr(context, "aclose", None)
    if close is not None:
        await close()
