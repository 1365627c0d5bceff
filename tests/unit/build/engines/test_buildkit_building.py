"""When an engine has told everything of a build that has ended, and when it never will."""

from __future__ import annotations

import asyncio

import pytest

from lumper.build.engines.buildkit.building import end_following
from lumper.build.engines.buildkit.progress import LOST, ProgressReader
from lumper.build.engines.buildkit.proto.control_pb2 import StatusResponse, VertexLog
from lumper.model.build import Progress
from parts.records import printed


async def told(progress: ProgressReader, *, lines: int, empty: int = 0, ends: bool = True) -> None:
    """An engine that tells slowly."""
    for number in range(lines):
        await asyncio.sleep(0.02)
        progress.receive(StatusResponse(logs=[VertexLog(vertex="v", stream=1, msg=b"%d\n" % number)]))
    for _ in range(empty):
        progress.receive(StatusResponse())
    if not ends:
        await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("lines", "empty", "ends", "lost"), [(60, 0, True, False), (2, 2000, False, True), (2, 0, False, True)]
)
async def test_an_engine_is_waited_for_as_long_as_it_tells(lines: int, empty: int, ends: bool, lost: bool) -> None:
    records: list[Progress] = []
    progress = ProgressReader(records.append)
    following = asyncio.create_task(told(progress, lines=lines, empty=empty, ends=ends))
    await end_following(following, progress, timeout=1.0)
    assert following.done()
    assert printed(records) == [*map(str, range(lines)), *([LOST] if lost else [])]
