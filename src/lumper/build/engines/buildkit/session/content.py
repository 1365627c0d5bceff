"""A content store of the worker that the engine writes over the session: there it leaves what it has built.

Source: moby/buildkit, session/content; containerd, core/content/proxy and plugins/services/content.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

from grpclib.const import Cardinality, Handler, Status
from grpclib.exceptions import GRPCError
from grpclib.server import Stream

from lumper.build.engines.buildkit.proto.content_pb2 import (
    COMMIT,
    STAT,
    Info,
    InfoRequest,
    InfoResponse,
    ReadContentRequest,
    ReadContentResponse,
    WriteContentRequest,
    WriteContentResponse,
)
from lumper.build.engines.buildkit.push.layout import Ingest, Layout
from lumper.errors import EngineError, StorageError
from lumper.system.full_disk import storage_error

_SERVICE = "/containerd.services.content.v1.Content"
_STORE = "buildkit-attachable-store-id"
_PIECE = 1024 * 1024

Writing = Stream[WriteContentRequest, WriteContentResponse]


class Contents:
    """Serves layouts by the names that BuildKit has for them: `export` for the result.

    What was written or found there stays until `let_go`, also when another build removes the image that has it.
    """

    def __init__(self, layouts: Mapping[str, Layout]) -> None:
        self._layouts = layouts
        self._pinned: defaultdict[Layout, list[str]] = defaultdict(list)
        self.failure: StorageError | None = None
        """Why the worker could not keep what the engine has sent, if that was so."""

    def let_go(self) -> None:
        """The build has ended, and what it needs has a name. Idempotent."""
        while self._pinned:
            layout, digests = self._pinned.popitem()
            layout.let_go(digests)

    async def info(self, stream: Stream[InfoRequest, InfoResponse]) -> None:
        layout, request = self._layout(stream), await stream.recv_message()
        digest = request.digest if request else ""
        await stream.send_message(InfoResponse(info=Info(digest=digest, size=await self._size(layout, digest))))

    async def read(self, stream: Stream[ReadContentRequest, ReadContentResponse]) -> None:
        layout, request = self._layout(stream), await stream.recv_message()
        if request is None:
            return
        size = await self._size(layout, request.digest)
        offset, end = request.offset, min(size, request.offset + request.size if request.size else size)
        with await asyncio.to_thread(layout.path(request.digest).open, "rb") as file:
            file.seek(offset)
            while offset < end and (data := await asyncio.to_thread(file.read, min(_PIECE, end - offset))):
                await stream.send_message(ReadContentResponse(offset=offset, data=data))
                offset += len(data)

    async def write(self, stream: Writing) -> None:
        """Each message is answered with how far the blob has come."""
        layout = self._layout(stream)
        try:
            ingest = await asyncio.to_thread(layout.begin)
            try:
                async for request in stream:
                    await self._receive(layout, ingest, request, stream)
            finally:
                ingest.discard()
        except OSError as exc:
            self.failure = storage_error(exc, f"The worker cannot keep the image that was built: {exc.strerror}.")
            raise GRPCError(Status.RESOURCE_EXHAUSTED, self.failure.message) from exc

    async def _receive(self, layout: Layout, ingest: Ingest, request: WriteContentRequest, stream: Writing) -> None:
        if request.expected and await self._known(layout, request.expected):
            raise GRPCError(Status.ALREADY_EXISTS, f"content {request.expected}: already exists")
        if request.action != STAT and request.offset != ingest.offset and (request.data or request.action == COMMIT):
            raise GRPCError(Status.OUT_OF_RANGE, f"the blob has {ingest.offset} bytes, not {request.offset}")
        if request.data:
            await asyncio.to_thread(ingest.write, request.data)
        answer = WriteContentResponse(action=request.action, offset=ingest.offset, total=request.total)
        if request.action == COMMIT:
            answer.digest = await self._commit(layout, ingest, request)
        await stream.send_message(answer)

    async def _commit(self, layout: Layout, ingest: Ingest, request: WriteContentRequest) -> str:
        if request.total and request.total != ingest.offset:
            raise GRPCError(Status.FAILED_PRECONDITION, f"the blob has {ingest.offset} of {request.total} bytes")
        if request.expected:
            self._pin(layout, request.expected)
        try:
            digest = await asyncio.to_thread(ingest.commit, request.expected)
        except EngineError as exc:
            raise GRPCError(Status.FAILED_PRECONDITION, exc.message) from exc
        if not request.expected:
            self._pin(layout, digest)
        return digest

    async def _known(self, layout: Layout, digest: str) -> bool:
        try:
            self._pin(layout, digest)  # before it is looked for, so that it stays if it is found
            return await asyncio.to_thread(layout.size, digest) is not None
        except EngineError as exc:
            raise GRPCError(Status.INVALID_ARGUMENT, exc.message) from exc

    async def _size(self, layout: Layout, digest: str) -> int:
        try:
            size = await asyncio.to_thread(layout.size, digest)
        except EngineError as exc:
            raise GRPCError(Status.INVALID_ARGUMENT, exc.message) from exc
        if size is None:
            raise GRPCError(Status.NOT_FOUND, f"content {digest}: not found")
        return size

    def _pin(self, layout: Layout, digest: str) -> None:
        layout.pin(digest)
        self._pinned[layout].append(digest)

    def _layout(self, stream: Stream[Any, Any]) -> Layout:
        named = stream.metadata.getall(_STORE, []) if stream.metadata else []
        layout = self._layouts.get(str(named[0])) if named else None
        if layout is None:
            raise GRPCError(Status.NOT_FOUND, "there is no such content store")
        return layout

    def __mapping__(self) -> Mapping[str, Handler]:
        def handler(call: Callable[[Any], Any], kind: Cardinality, request: type, response: type) -> Handler:
            return Handler(call, kind, request, response)

        return {
            f"{_SERVICE}/Info": handler(self.info, Cardinality.UNARY_UNARY, InfoRequest, InfoResponse),
            f"{_SERVICE}/Read": handler(self.read, Cardinality.UNARY_STREAM, ReadContentRequest, ReadContentResponse),
            f"{_SERVICE}/Write": handler(
                self.write, Cardinality.STREAM_STREAM, WriteContentRequest, WriteContentResponse
            ),
        }
