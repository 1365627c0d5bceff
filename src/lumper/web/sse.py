"""Server-sent events: news that pages should look again, and the log of a build while it grows.

Source of the format: WHATWG HTML, section 9.2 "Server-sent events".

    /events                     event `change` whenever something was committed
    /builds/{id}/log/stream     events without a name: `id` is the offset behind the records, a `data` line is one;
                                event `end` when nothing more will come: {"state": …, "attempt": …};
                                event `gone` when the log is not kept any more
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

from aiohttp import web

from lumper.errors import NotFound
from lumper.line.history import History
from lumper.model.builds.build import Build
from lumper.store.database import Database
from lumper.web.log_lines import is_gone, whole_blocks

QUIET_SECONDS = 15.0  # proxies cut connections on which nothing moves; a comment keeps them
LONGEST_SECONDS = 600.0  # then the browser comes again, and its session is looked at again
_PAUSE_SECONDS = 0.25  # between two `change`s: a busy moment is one piece of news


class Streams:
    """All open event streams of this process; they end before the server does."""

    def __init__(self, app: web.Application, database: Database, headers: Mapping[str, str]) -> None:
        """Each stream begins with these `headers`, besides its own."""
        self._headers = headers
        self._ending = asyncio.Event()
        self._listeners: set[asyncio.Event] = set()
        database.on_commit(self._changed)
        app.on_shutdown.append(self._end)

    def _changed(self) -> None:
        for listener in self._listeners:
            listener.set()

    async def _end(self, _app: web.Application) -> None:
        self._ending.set()
        self._changed()

    async def changes(self, request: web.Request) -> web.StreamResponse:
        """Say `change` after every commit, and for a start once."""
        heard = asyncio.Event()
        self._listeners.add(heard)
        try:
            return await self.send(request, self._news(heard))
        finally:
            self._listeners.discard(heard)

    async def _news(self, heard: asyncio.Event) -> AsyncGenerator[bytes]:
        yield b"event: change\ndata:\n\n"
        while True:
            try:
                async with asyncio.timeout(QUIET_SECONDS):
                    await heard.wait()
            except TimeoutError:
                yield b":\n\n"
                continue
            heard.clear()
            yield b"event: change\ndata:\n\n"
            await asyncio.sleep(_PAUSE_SECONDS)

    async def send(self, request: web.Request, events: AsyncGenerator[bytes]) -> web.StreamResponse:
        """Answer with these events until they end, the browser leaves, the server ends, or for long enough."""
        own = {"Content-Type": "text/event-stream; charset=utf-8", "X-Accel-Buffering": "no"}
        response = web.StreamResponse(headers={**self._headers, **own})
        await response.prepare(request)
        await response.write(b"retry: 1000\n\n")
        sending = asyncio.create_task(_write_all(response, events))
        ending = asyncio.create_task(self._ending.wait())
        try:
            await asyncio.wait((sending, ending), timeout=LONGEST_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sending.cancel()
            ending.cancel()
            await asyncio.gather(sending, ending, return_exceptions=True)
        return response


async def _write_all(response: web.StreamResponse, events: AsyncGenerator[bytes]) -> None:
    async with aclosing(events):
        async for event in events:
            await response.write(event)


async def log_events(history: History, build: Build, attempt: int, offset: int) -> AsyncGenerator[bytes]:
    """The log of an attempt from `offset` on, and what is added to it, as events."""
    wakes = history.logs.wakes
    build = await history.builds.get(build.id)
    while True:
        over = build.state.final or build.attempt != attempt  # looked at before the log: what ends it is in it then
        seen = await history.logs.size(build.id, attempt)
        try:
            async with aclosing(_records(history, build.id, attempt, offset)) as events:
                async for end, event in events:
                    offset = end
                    yield event
            removed = offset < build.log_size and await is_gone(history.logs, build)
        except NotFound:
            removed = True
        if removed:
            yield b"event: gone\ndata:\n\n"
            return
        if over:
            break
        await history.logs.wait(build.id, attempt, max(seen, offset), QUIET_SECONDS, wakes)
        wakes = history.logs.wakes
        build = await history.builds.get(build.id)
        yield b":\n\n"
    final = json.dumps({"state": build.state.value, "attempt": build.attempt})
    yield b"event: end\ndata: %s\n\n" % final.encode()


async def _records(history: History, build_id: int, attempt: int, offset: int) -> AsyncGenerator[tuple[int, bytes]]:
    """The records that are there, packed into events, each behind the offset that follows it."""
    async with aclosing(whole_blocks(history.logs, build_id, attempt, offset)) as blocks:
        async for end, block in blocks:
            data = block.replace(b"\r", b"").replace(b"\n", b"\ndata: ")
            yield end, b"id: %d\ndata: %s\n\n" % (end, data)
