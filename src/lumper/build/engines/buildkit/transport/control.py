"""BuildKit's control service: start a build, follow its progress, tell and prune the cache, ask what it is."""

from __future__ import annotations

from asyncio import BaseTransport
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

from grpclib.client import Channel, Handler, Stream, StreamStreamMethod, UnaryStreamMethod, UnaryUnaryMethod
from grpclib.config import Configuration
from grpclib.protocol import H2Protocol
from h2.settings import SettingCodes

from lumper.build.engines.buildkit.proto.control_pb2 import (
    DiskUsageRequest,
    DiskUsageResponse,
    ListWorkersRequest,
    ListWorkersResponse,
    PruneRequest,
    SolveRequest,
    SolveResponse,
    StatusRequest,
    StatusResponse,
    UsageRecord,
)
from lumper.build.engines.buildkit.proto.upload_pb2 import BytesMessage
from lumper.build.engines.buildkit.transport.frames import BulkProtocol
from lumper.build.engines.buildkit.transport.told_line import LineCodec
from lumper.system.library_internals import h2

_SERVICE = "/moby.buildkit.v1.Control"
_MAX_HEADERS = 16 * 1024 * 1024  # bytes; an error of BuildKit carries the whole Dockerfile in a header

Connect = Callable[[H2Protocol], Awaitable[H2Protocol]]
"""Connects, and hands the connection to the protocol. Raises EngineUnavailable."""


STANDING_BY = 65535
"""How far, in bytes, the engine may be ahead in a call that is not read: as little as grpclib allows."""
AHEAD = 64 * 1024 * 1024
"""How far it may be ahead otherwise: it need not wait for us."""


class _Protocol(BulkProtocol):
    """HTTP/2 that takes long headers."""

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)
        # grpclib has no option for it, and h2 drops the whole connection at 64 KiB.
        h2(self.connection).update_settings({SettingCodes.MAX_HEADER_LIST_SIZE: _MAX_HEADERS})
        self.connection.flush()


class Control(Channel):
    """One connection to the control service. Close it. `ahead` is how far, in bytes, a call may be ahead of us."""

    def __init__(self, connect: Connect, ahead: int = AHEAD) -> None:
        windows = Configuration(http2_connection_window_size=AHEAD, http2_stream_window_size=ahead)
        super().__init__(config=windows, status_details_codec=LineCodec())
        self._connect = connect
        self._solve = UnaryUnaryMethod(self, f"{_SERVICE}/Solve", SolveRequest, SolveResponse)
        self._status = UnaryStreamMethod(self, f"{_SERVICE}/Status", StatusRequest, StatusResponse)
        self._usage = UnaryUnaryMethod(self, f"{_SERVICE}/DiskUsage", DiskUsageRequest, DiskUsageResponse)
        self._prune = UnaryStreamMethod(self, f"{_SERVICE}/Prune", PruneRequest, UsageRecord)
        self._workers = UnaryUnaryMethod(self, f"{_SERVICE}/ListWorkers", ListWorkersRequest, ListWorkersResponse)
        self.session = StreamStreamMethod(self, f"{_SERVICE}/Session", BytesMessage, BytesMessage)
        """A connection within this one, on which the daemon calls us back."""

    def _protocol_factory(self) -> H2Protocol:
        return _Protocol(Handler(), self._config, self._h2_config)

    async def _create_connection(self) -> H2Protocol:
        return await self._connect(self._protocol_factory())

    async def connect(self) -> None:
        """Connect now instead of with the first call. Raises EngineUnavailable."""
        await self.__connect__()

    async def solve(self, request: SolveRequest) -> Mapping[str, str]:
        """Build; what the exporter tells, when it has ended well. Cancelling resets the call, which stops the build.

        `details` of a GRPCError is the line of the Dockerfile that it is about, 0 if that is not told.
        """
        return (await self._solve(request)).ExporterResponse

    @asynccontextmanager
    async def status(self, ref: str) -> AsyncIterator[Stream[StatusRequest, StatusResponse]]:
        """A call that tells every change of the build `ref` until there is nothing more to tell. Leaving it ends it."""
        async with self._status.open() as stream:
            await stream.send_message(StatusRequest(Ref=ref), end=True)
            yield stream

    async def usage(self) -> list[UsageRecord]:
        """All that the cache holds."""
        return list((await self._usage(DiskUsageRequest())).record)

    async def prune(self, keep: int, *, everything: bool) -> list[UsageRecord]:
        """Let records go, those used longest ago first, until `keep` bytes are left; what went.

        What a build uses stays. `everything`: also what images share with the cache, and syntax images.
        """
        return list(await self._prune(PruneRequest(all=everything, keepBytes=keep)))

    async def workers(self) -> ListWorkersResponse:
        """What executes builds there."""
        return await self._workers(ListWorkersRequest())

    async def gets_stuck(self) -> bool:
        """Whether a call of `status` may end in the middle (status.py): BuildKit before 0.11 does not tell its version.

        0.10 would not get stuck. It is treated alike, as nothing tells it from those that do.
        """
        workers = (await self.workers()).record
        return not (workers and workers[0].BuildkitVersion.version)
