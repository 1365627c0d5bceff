"""The Engine of `build/port.py` on a Docker Engine with BuildKit inside (20.10 and newer)."""

from __future__ import annotations

import asyncio
import itertools
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import suppress

from grpclib.const import Status
from grpclib.exceptions import GRPCError, StreamTerminatedError
from h2.exceptions import ProtocolError

from lumper.build.engines.buildkit.address import parse_address
from lumper.build.engines.buildkit.api import ImageApi
from lumper.build.engines.buildkit.cache import cache_size, prune_cache
from lumper.build.engines.buildkit.control import Control
from lumper.build.engines.buildkit.direct_push import DirectPush
from lumper.build.engines.buildkit.errors import build_error, is_lost, is_syntax_step
from lumper.build.engines.buildkit.progress import ProgressReader
from lumper.build.engines.buildkit.proto.control_pb2 import SolveRequest
from lumper.build.engines.buildkit.push import PushReader
from lumper.build.engines.buildkit.request import solve_request
from lumper.build.engines.buildkit.services import services
from lumper.build.engines.buildkit.session import Upload, open_session
from lumper.build.known_layers import KnownLayers
from lumper.build.port import BuildRequest, EngineInfo, Login, Pushed, Report
from lumper.build.target import OpenTarget
from lumper.errors import EngineError, FrontendUnavailable, LumperError
from lumper.model.build import Progress, Step, StepState

_BROKEN = (StreamTerminatedError, ProtocolError, OSError)  # how grpclib shows that a connection is no more

FIRST_PUSH = 1001
"""Steps of pushes are numbered from here, apart from those of the build whose log they share."""

END_TIMEOUT = 10.0
"""How long, in seconds, the engine may take to end a cancelled step and to tell the rest of a build's progress."""


START_TIME = 0.2
"""How long, in seconds, a step must have been running before a cancellation is handed on, because Engine 26.1
(BuildKit 0.13) never ends a program that is cancelled in the moment in which it is about to start."""


class BuildKitEngine:
    """Builds over the Engine's `/grpc` and `/session`, two connections for each build; pushes over its REST API.

    `address` is `unix:///path` or `tcp://host:port`; `frontend_time` is how long, in seconds, the engine may look for a
    syntax image: a firewall that swallows all must not hold it. With `open_target` images are pushed without the Engine
    where that is possible (`direct_push.py`); `known` is what is known of their layers. Raises ConfigError.
    """

    def __init__(
        self,
        address: str,
        *,
        frontend_time: float = 60.0,
        open_target: OpenTarget | None = None,
        known: KnownLayers | None = None,
    ) -> None:
        self._frontend_time = frontend_time
        self._address = parse_address(address)
        self._api = ImageApi(self._address)
        self._direct = DirectPush(self._api, open_target, known or KnownLayers()) if open_target else None
        self._push_numbers = itertools.count(FIRST_PUSH)

    async def info(self) -> EngineInfo:
        return await self._api.info()

    async def build(self, request: BuildRequest, context: AsyncIterator[bytes], report: Report) -> None:
        upload = Upload(context)
        starts = _Starts(report, self._frontend_time)
        progress = ProgressReader(starts.report)
        control = Control(self._address)
        try:
            async with control:
                await control.connect()
                session = await open_session(self._address, [upload, *services(request)])
                ref = uuid.uuid4().hex
                following = asyncio.create_task(control.status(ref, progress.receive))
                try:
                    message = solve_request(request, ref=ref, session=session.id, context=upload.url)
                    async with starts.limit:
                        await _solve(control, message, starts)
                finally:
                    await session.close()  # first, or a cancelled build waits for the rest of its context
                    await _end(following)
        except TimeoutError as exc:
            text = f"The syntax image {request.frontend} did not come within {self._frontend_time:g} s."
            raise FrontendUnavailable(text) from exc
        except (GRPCError, *_BROKEN) as exc:
            raise upload.failure or self._failure(exc, request, progress) from exc
        finally:
            progress.finish()
            await _close(context)

    def _failure(self, exc: Exception, request: BuildRequest, progress: ProgressReader) -> EngineError:
        text = (exc.message or "") if isinstance(exc, GRPCError) else str(exc)
        gone = not isinstance(exc, GRPCError) or exc.status is Status.UNAVAILABLE or is_lost(text)
        if gone and not progress.failures:
            return self._address.lost(text)
        return build_error(text, progress.failures, request.dockerfile)

    async def push(self, image: str, login: Login | None, report: Report) -> Pushed:
        reader = PushReader(image, next(self._push_numbers), report, time.time)
        try:
            if self._direct is not None and await self._direct.push(image, login, reader):
                return reader.result()
            return await self._api.push(image, login, reader)
        except LumperError as exc:
            reader.fail(StepState.FAILED, exc.message)
            raise
        except asyncio.CancelledError:
            reader.fail(StepState.CANCELLED)
            raise

    async def remove(self, image: str) -> None:
        await self._api.untag(image)

    async def images(self, prefix: str) -> list[str]:
        return [name for name in await self._api.names() if name.startswith(prefix)]

    async def cache_size(self) -> int:
        return await cache_size(self._address)

    async def prune(self, keep: int) -> int:
        return await prune_cache(self._address, keep)

    async def close(self) -> None:
        if self._direct is not None:
            self._direct.close()
        await self._api.close()


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


async def _solve(control: Control, message: SolveRequest, starts: _Starts) -> None:
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


async def _end(following: asyncio.Task[None]) -> None:
    """Wait until the engine has told everything: then the programs of all steps have ended, cancelled ones too."""
    try:
        await asyncio.wait((following,), timeout=END_TIMEOUT)
    finally:
        following.cancel()
    await asyncio.wait((following,))
    with suppress(GRPCError, *_BROKEN, EngineError, asyncio.CancelledError):
        following.result()


async def _close(context: AsyncIterator[bytes]) -> None:
    """Let a generator run its `finally` now, wherever the build left it."""
    close = getattr(context, "aclose", None)
    if close is not None:
        await close()
