"""How large BuildKit's cache is, and making it smaller. Every BuildKit speaks so, within a Docker Engine or alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from grpclib.const import Status
from grpclib.exceptions import GRPCError, StreamTerminatedError
from h2.exceptions import ProtocolError

from lumper.build.engines.buildkit.link import Link
from lumper.build.engines.buildkit.transport.control import Control
from lumper.errors import EngineError


async def cache_size(link: Link) -> int:
    """The bytes that the cache alone holds. Raises EngineUnavailable, EngineError."""
    async with _control(link) as control:
        return await _size(control)


async def prune_cache(link: Link, keep: int) -> int:
    """Make the cache hold no more than `keep` bytes, as far as no build uses it; the bytes that became free.

    First goes what only costs a step its time; syntax images and the like, if that is not enough. Raises
    EngineUnavailable, EngineError.
    """
    freed = 0
    async with _control(link) as control:
        for everything in (False, True):
            if await _size(control) <= keep:
                break
            # A limit of 0 means none to BuildKit.
            freed += sum(record.Size for record in await control.prune(max(1, keep), everything=everything))
    return freed


async def _size(control: Control) -> int:
    """What is shared belongs to images, and pruning would not free it: BuildKit counts so, too."""
    return sum(record.Size for record in await control.usage() if not record.Shared)


@asynccontextmanager
async def _control(link: Link) -> AsyncIterator[Control]:
    control, address = link.control(), link.address
    try:
        async with control:
            await control.connect()
            yield control
    except GRPCError as exc:
        if exc.status is Status.UNAVAILABLE:
            raise address.unavailable(exc.message or "it ends") from exc
        raise EngineError(f"The build engine at {address.text} refused: {exc.message}.") from exc
    except (StreamTerminatedError, ProtocolError, OSError) as exc:
        raise address.unavailable(exc) from exc
