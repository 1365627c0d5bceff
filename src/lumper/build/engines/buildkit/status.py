"""What a build tells, all of it, also from an engine that stops in the middle.

BuildKit before 0.10, and with it Docker Engine 20.10, ends a call of `Status` in an endless loop of empty messages as
soon as more than 1 MiB of output has gathered between two of its messages: all that follows is lost to that call
(moby/buildkit v0.8.3, control/control.go, `retry`). That happens whenever a step prints faster than the engine or we
come along. So a second call stands by, on a connection of its own, and is not read: the engine keeps for it what it has
to tell. When the first one is stuck, the second one is read, whose story begins earlier; what was told already is left
out; and a third one stands by before anything of the second is read.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable

from lumper.build.engines.buildkit.progress import FULL, ProgressReader, is_whole
from lumper.build.engines.buildkit.proto.control_pb2 import StatusResponse, Vertex, VertexLog
from lumper.build.engines.buildkit.transport.control import Control

_EMPTY = 100  # messages without anything, one behind the other: such an engine sends them without end
RENEWED = 64 * 1024 * 1024  # bytes of output that an engine keeps for the call that stands by
_BEHIND = 16 * 1024 * 1024  # bytes; a call that is behind what the engine has told by so many is about to be stuck
_REGISTERED = 1.0  # seconds; a build that tells nothing for so long may have nothing to tell
_WORKS = 0.02  # seconds; with fewer, what comes without end comes faster than it is looked at
_AT_FIRST = 11  # messages that an engine makes before it waits until they are read

Receive = Callable[[StatusResponse], None]


class Told:
    """What was told, so that a call that begins earlier tells nothing of it again."""

    def __init__(self) -> None:
        self._logs: dict[tuple[str, int], int] = {}
        self._vertexes: dict[str, int] = {}
        self._before: tuple[dict[tuple[str, int], int], dict[str, int]] = ({}, {})

    def again(self) -> None:
        """From now on another call tells, which may repeat what was told until now."""
        self._before = (dict(self._logs), dict(self._vertexes))

    def new(self, message: StatusResponse) -> StatusResponse:
        """The message without what an earlier call has told."""
        logs, vertexes = self._before
        fresh = StatusResponse(warnings=message.warnings)
        fresh.logs.extend(log for log in message.logs if _at(log) > logs.get((log.vertex, log.stream), -1))
        fresh.vertexes.extend(
            vertex for vertex in message.vertexes if _latest(vertex) >= vertexes.get(vertex.digest, -1)
        )
        for log in fresh.logs:
            self._logs[log.vertex, log.stream] = _at(log)
        for vertex in fresh.vertexes:
            self._vertexes[vertex.digest] = max(_latest(vertex), self._vertexes.get(vertex.digest, -1))
        return fresh


def _at(log: VertexLog) -> int:
    return log.timestamp.ToNanoseconds()


def _latest(vertex: Vertex) -> int:
    return max(vertex.started.ToNanoseconds(), vertex.completed.ToNanoseconds())


class _Call:
    """One call of `Status`, in a task. Before it is `read`, the engine keeps what it has to tell.

    `ready` is set when the engine has begun to tell (`began`), or the call has ended. `stuck`: it tells nothing more.
    """

    def __init__(self, control: Control, ref: str, receive: Receive) -> None:
        self._receive = receive
        self._wanted = asyncio.Event()
        self._stood_by = True
        self._messages = 0
        self.ready = asyncio.Event()
        self._empty = 0
        self.began = self._full = self.stuck = False
        self.task = asyncio.create_task(self._run(control, ref))
        self.task.add_done_callback(lambda task: task.cancelled() or task.exception())

    def read(self, *, from_the_beginning: bool = False) -> None:
        """Hand over what it tells, until it has told all or is stuck."""
        self._stood_by = not from_the_beginning
        self._wanted.set()

    @property
    def lacks(self) -> bool:
        """Whether it was stuck before it was read: then what the engine told next may be in no call."""
        return self.stuck and self._stood_by and self._messages <= _AT_FIRST

    async def _run(self, control: Control, ref: str) -> None:
        try:
            async with control.status(ref) as stream:
                await stream.recv_initial_metadata()
                self.began = True
                self.ready.set()
                await self._wanted.wait()
                resting = time.monotonic() + _WORKS
                async for message in stream:
                    self._hand_over(message)
                    if self.stuck:
                        await stream.cancel()
                        return
                    if time.monotonic() > resting:
                        await asyncio.sleep(0)
                        resting = time.monotonic() + _WORKS
        finally:
            self.ready.set()

    def _hand_over(self, message: StatusResponse) -> None:
        self._empty = 0 if message.ByteSize() else self._empty + 1
        self.stuck = self._empty >= _EMPTY
        if not self._full:
            self._messages += 1
            self._full = sum(len(log.msg) for log in message.logs) > FULL
        self._receive(message)

    async def close(self) -> None:
        """End the call; whatever it still says is of no interest."""
        self.task.cancel()
        await asyncio.wait((self.task,))


class Following:
    """Follows the build `ref`. `spare` is a second connection, to an engine that gets stuck.

    Set `over` when the build has ended. Where less may have been told than happened, the progress says so.
    """

    def __init__(self, ref: str, control: Control, spare: Control | None, progress: ProgressReader) -> None:
        self._ref = ref
        self._control = control
        self._spare = spare
        self._progress = progress
        self._told = Told()
        self._kept = 0
        self._ending = False  # what gathered has become too much for the call that is read: it tells that, and no more
        self._next: _Call | None = None
        self._newer: _Call | None = None
        self.over = asyncio.Event()

    async def follow(self) -> None:
        """Hand over every change of the build, until the engine has told all. Raises GRPCError, and as grpclib does."""
        first = self._call(self._control)
        call: _Call | None = first
        try:
            first.read(from_the_beginning=True)
            await first.ready.wait()
            self._next = self._standby()
            while call is not None:
                await asyncio.wait((call.task,))
                call.task.result()
                call = await self._after(call) if call.stuck else None
        finally:
            for one in (call, self._next, self._newer):
                if one is not None:
                    await one.close()

    async def _after(self, stuck: _Call) -> _Call | None:
        """The call to read now, of which nothing was read before another one stood by; None if all was told."""
        if stuck.lacks:
            self._progress.lose()
        call = self._next
        if call is not None and self.over.is_set():
            await _any((call.ready,), _REGISTERED)
        if call is None or (self.over.is_set() and not call.began):
            if self._progress.is_running and not stuck.lacks:
                self._progress.lose()
            return None
        self._next, self._newer = self._newer, None
        if not self.over.is_set():
            self._next = self._next or self._standby()
            if self._next is not None:
                await _any((self._next.ready, self.over), _REGISTERED)
        self._told.again()
        self._kept, self._ending = 0, False
        call.read()
        return call

    def _call(self, control: Control) -> _Call:
        return _Call(control, self._ref, self._take)

    def _standby(self) -> _Call | None:
        return self._call(self._spare) if self._spare is not None else None

    def _take(self, message: StatusResponse) -> None:
        size = sum(len(log.msg) for log in message.logs)
        self._kept += size
        self._ending = self._ending or size > FULL
        if not self._ending:
            self._renew()
        self._progress.receive(self._told.new(message), whole=is_whole(message))

    def _renew(self) -> None:
        """Let another call stand by instead of one for which the engine keeps much.

        The story of the newer one begins where the engine was then: what the call that is read has not told by that
        time only the older one tells, which stays until that has been passed for certain.
        """
        if self._newer is None:
            if self._next is not None and self._kept > RENEWED:
                self._kept, self._newer = 0, self._standby()
        elif not self._newer.began:
            self._kept = 0
        elif self._kept > _BEHIND:
            older, self._next, self._newer = self._next, self._newer, None
            if older is not None:
                older.task.cancel()


async def _any(events: Iterable[asyncio.Event], seconds: float) -> None:
    """Wait until one of them is set, or so long."""
    waiting = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for one in waiting:
            one.cancel()
