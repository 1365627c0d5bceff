"""What the engine is told where the worker cannot keep what it has built."""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from grpclib.client import Channel, StreamStreamMethod
from grpclib.const import Status
from grpclib.exceptions import GRPCError
from grpclib.testing import ChannelFor

from lumper.build.engines.buildkit.proto.content_pb2 import COMMIT, WRITE, WriteContentRequest, WriteContentResponse
from lumper.build.engines.buildkit.push.layout import Ingest, Layout
from lumper.build.engines.buildkit.session.content import Contents
from lumper.errors import StorageFull

Write = StreamStreamMethod[WriteContentRequest, WriteContentResponse]


@pytest.fixture
async def contents(tmp_path: Path) -> AsyncIterator[tuple[Contents, Write]]:
    served = Contents({"export": Layout(tmp_path)})
    async with ChannelFor([served]) as channel:
        yield served, _write(channel)


def _write(channel: Channel) -> Write:
    path = "/containerd.services.content.v1.Content/Write"
    return StreamStreamMethod(channel, path, WriteContentRequest, WriteContentResponse)


async def send(write: Write, request: WriteContentRequest) -> WriteContentResponse | None:
    async with write.open(metadata={"buildkit-attachable-store-id": "export"}) as stream:
        await stream.send_message(request, end=True)
        return await stream.recv_message()


async def test_a_disk_that_is_full_is_told_to_the_engine_and_remembered(
    contents: tuple[Contents, Write], monkeypatch: pytest.MonkeyPatch
) -> None:
    served, write = contents

    def full(_self: Ingest, _data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Ingest, "write", full)
    with pytest.raises(GRPCError) as caught:
        await send(write, WriteContentRequest(action=WRITE, ref="r", data=b"layer"))
    assert caught.value.status is Status.RESOURCE_EXHAUSTED
    assert isinstance(served.failure, StorageFull)


async def test_what_is_no_digest_is_refused_and_not_looked_for(contents: tuple[Contents, Write]) -> None:
    served, write = contents
    with pytest.raises(GRPCError) as caught:
        await send(write, WriteContentRequest(action=COMMIT, ref="r", expected="sha256:../../x"))
    assert caught.value.status is Status.INVALID_ARGUMENT
    served.let_go()


async def test_what_was_sent_and_never_named_goes_at_the_end(contents: tuple[Contents, Write], tmp_path: Path) -> None:
    served, write = contents
    answer = await send(write, WriteContentRequest(action=COMMIT, ref="r", data=b"layer", total=5))
    assert answer is not None
    assert len(list(tmp_path.glob("blobs/sha256/*"))) == 1
    served.let_go()
    assert list(tmp_path.glob("blobs/sha256/*")) == []
