"""When an engine has told everything of a build that has ended, and when it never will."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Sequence

import pytest
from grpclib.protocol import H2Protocol

from lumper.build.engines.buildkit.building import Building, end_following
from lumper.build.engines.buildkit.progress import LOST, ProgressReader
from lumper.build.engines.buildkit.proto.control_pb2 import StatusResponse, VertexLog
from lumper.build.engines.buildkit.session.services import Service
from lumper.build.engines.buildkit.session.session import Session
from lumper.build.engines.buildkit.transport.address import parse_address
from lumper.build.engines.buildkit.transport.control import AHEAD, Control
from lumper.build.port import BuildRequest
from lumper.errors import EngineUnavailable
from lumper.model.builds.build import Progress
from parts.engines.context import stream
from parts.line.records import printed


async def told(progress: ProgressReader, *, lines: int, ends: bool = True) -> None:
    """An engine that tells slowly."""
    for number in range(lines):
        await asyncio.sleep(0.02)
        progress.receive(StatusResponse(logs=[VertexLog(vertex="v", stream=1, msg=b"%d\n" % number)]))
    if not ends:
        await asyncio.Event().wait()


@pytest.mark.parametrize(("lines", "ends", "lost"), [(60, True, False), (2, False, True)])
async def test_an_engine_is_waited_for_as_long_as_it_tells(lines: int, ends: bool, lost: bool) -> None:
    records: list[Progress] = []
    progress = ProgressReader(records.append)
    following = asyncio.create_task(told(progress, lines=lines, ends=ends))
    await end_following(following, progress, timeout=1.0)
    assert following.done()
    assert printed(records) == [*map(str, range(lines)), *([LOST] if lost else [])]


class Gone:
    """A link to a machine that answers no more: the kernel says so by an error of the same class as a time limit's."""

    address = parse_address("tcp://gone.test:2376")

    def control(self, ahead: int = AHEAD) -> Control:
        return Control(self._connect, ahead)

    async def _connect(self, protocol: H2Protocol) -> H2Protocol:
        raise TimeoutError(errno.ETIMEDOUT, "Connection timed out")

    async def session(self, offered: Sequence[Service], shared_key: str) -> Session:
        raise NotImplementedError


async def test_a_machine_that_is_gone_is_not_taken_for_a_syntax_image_that_does_not_come() -> None:
    building = Building(Gone(), frontend_time=60.0)
    request = BuildRequest("1", "r.test/app:1", frontend="docker/dockerfile:1")
    with pytest.raises(EngineUnavailable, match="Connection timed out"):
        await building.run(request, stream(b""), lambda _: None)
