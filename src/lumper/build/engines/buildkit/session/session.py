"""The session: over it the engine calls back, to fetch the build context and what else the build may ask for.

The roles are turned round: the connection is ours, but on it we are the gRPC server. The engine checks the session's
health about once a second and ends the build when the session is gone.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Any

from grpclib.const import Cardinality, Handler, Status
from grpclib.exceptions import GRPCError
from grpclib.health.service import Health
from grpclib.protocol import H2Protocol
from grpclib.server import Server, Stream

from lumper.build.engines.buildkit.proto.upload_pb2 import BytesMessage
from lumper.build.engines.buildkit.session.services import Absent, Service
from lumper.build.engines.buildkit.transport.frames import BulkProtocol

MESSAGE_SIZE = 1024 * 1024  # engines accept up to 4 MiB; larger ones than this gain nothing

_PULL = "/moby.upload.v1.Upload/Pull"


class Upload:
    """Serves one build context, once. `failure` is what the context itself raised, if it did."""

    def __init__(self, context: AsyncIterator[bytes]) -> None:
        self.id = uuid.uuid4().hex
        self.failure: Exception | None = None
        self._context: AsyncIterator[bytes] | None = context

    @property
    def url(self) -> str:
        """What the build names as its context. BuildKit keeps this host for uploads of the session."""
        return f"http://buildkit-session/{self.id}"

    async def pull(self, stream: Stream[BytesMessage, BytesMessage]) -> None:
        """Send the context. The engine names it in the metadata `urlpath`."""
        paths = stream.metadata.getall("urlpath", []) if stream.metadata else []
        context, self._context = self._context, None
        if context is None or str(paths[0] if paths else "").strip("/") != self.id:
            raise GRPCError(Status.NOT_FOUND, "there is no such upload, or it was fetched already")
        async with aclosing(messages(context)) as parts:
            while part := await self._next(parts):
                await stream.send_message(BytesMessage(data=part))

    async def _next(self, parts: AsyncIterator[bytes]) -> bytes | None:
        """The next piece. Reading is apart from sending, so that only the context's own failure is kept."""
        try:
            return await anext(parts, None)
        except Exception as exc:
            self.failure = exc
            raise GRPCError(Status.ABORTED, "the build context could not be read") from exc

    def __mapping__(self) -> dict[str, Handler]:
        return {_PULL: Handler(self.pull, Cardinality.STREAM_STREAM, BytesMessage, BytesMessage)}


async def messages(chunks: AsyncIterator[bytes], size: int = MESSAGE_SIZE) -> AsyncGenerator[bytes, None]:
    """The same bytes in pieces of `size`, the last one smaller. Holds at most one chunk and one piece."""
    rest = bytearray()
    async for chunk in chunks:
        view = memoryview(chunk)
        while len(rest) + len(view) >= size:
            missing = size - len(rest)
            rest += view[:missing]
            view = view[missing:]
            yield bytes(rest)
            rest.clear()
        rest += view
    if rest:
        yield bytes(rest)


class _SessionServer(Server):
    """grpclib's server on a connection that is there already instead of on a listening socket."""

    def protocol(self) -> H2Protocol:
        served = self._protocol_factory()
        return BulkProtocol(served.handler, served.config, served.h2_config)


class Session:
    """An open session. Close it. `end` is what is left to do then."""

    def __init__(
        self, session_id: str, protocol: H2Protocol, end: Callable[[], Awaitable[object]] | None = None
    ) -> None:
        self.id = session_id
        self._protocol = protocol
        self._end = end

    async def close(self) -> None:
        """End the connection, and with it whatever the engine still fetches. Idempotent."""
        self._protocol.processor.close()
        handler: Any = self._protocol.handler
        await handler.wait_closed()
        if self._end is not None:
            await self._end()


def session_protocol(offered: Sequence[Service]) -> H2Protocol:
    """What serves the calls of one session."""
    return _SessionServer([Absent(), *offered, Health()]).protocol()


def session_headers(session_id: str, offered: Sequence[Service], shared_key: str) -> list[tuple[str, str]]:
    """What the engine is told of a session. Source: moby/buildkit, session/session.go."""
    prefix = "X-Docker-Expose-Session"
    return [
        (f"{prefix}-Uuid", session_id),
        (f"{prefix}-Name", "lumper"),
        (f"{prefix}-Sharedkey", shared_key),
        *((f"{prefix}-Grpc-Method", path) for service in (*offered, Health()) for path in service.__mapping__()),
    ]
