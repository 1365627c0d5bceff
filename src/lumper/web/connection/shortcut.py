"""Requests that are answered without aiohttp, which makes many objects and tasks of each.

`Shortcut` stands between a connection and aiohttp's protocol. It answers a request itself if its head came whole, in
one piece and strictly as RFC 9112 has it, while nothing else is under way on the connection, and if `Answers` takes it:
from memory at once, or by a task. Everything else goes to aiohttp, byte for byte: this way only makes answers quicker,
never others.

Where one request ends and the next one begins is known as long as all bodies have a length; the first one without, or
anything that is not understood, leaves the rest of the connection to aiohttp.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Protocol, cast
from weakref import WeakSet

from aiohttp import HttpVersion10, HttpVersion11, hdrs, web
from aiohttp.web_protocol import RequestHandler

from lumper.system import library_internals as internals
from lumper.web.connection.host_header import host_in, is_host
from lumper.web.connection.request_head import Asker, Reader, Request

_READ = 1 << 20  # bytes of all connections
_READ_LEAST, _READ_MOST = 4 << 10, 64 << 10  # bytes of one at a time, until who reads its body says another size
_AHEAD_MOST = 16 << 10  # bytes of one that nobody has asked for yet, from which on it reads no more
_HELD = 2 << 20  # bytes of all connections' requests whose body has not come whole
_PATIENCE = 600.0  # seconds that an answer may take before aiohttp thinks that nobody uses the connection
_LOOK_SECONDS = 0.01  # until it is looked again whether aiohttp has begun with the last request that came
_Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Answers(Protocol):
    """What can be answered without aiohttp. None of the methods may wait or fail."""

    def asker(self, fields: Mapping[str, str]) -> Asker | None:
        """Who sends these header fields, whose names are in lower case; None if they mean something else, too."""

    def expects(self, method: str, target: str, asker: Asker) -> bool:
        """Whether `answer` is likely to take this request, once its body has come."""

    def answer(
        self, method: str, target: str, asker: Asker, remote: str, body: bytes
    ) -> bytes | Coroutine[Any, Any, bytes] | None:
        """The whole answer, or what makes it; None: it is aiohttp's to give, and nothing was done.

        `remote` is the address that the connection comes from.
        """


class _NoAnswers:
    """Everything is aiohttp's to answer."""

    def asker(self, fields: Mapping[str, str]) -> Asker | None:
        return None

    def expects(self, method: str, target: str, asker: Asker) -> bool:
        return False

    def answer(self, method: str, target: str, asker: Asker, remote: str, body: bytes) -> None:
        return None


class Shortcut(asyncio.Protocol):
    """One connection."""

    def __init__(self, handler: RequestHandler, shared: Shortcuts, share: int) -> None:
        """`share` is how many bytes it may hold that nobody has taken."""
        self._handler = handler
        self.share = share
        self._shared = shared
        self._left: int | None = 0  # of the body that comes; None: unknown from here on
        self._held = b""  # a request whose body is still to come, or, while an answer is made, what came early
        self._answering = False
        self._ended = False
        self.transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has come."""
        self.transport = self._transport = cast("asyncio.Transport", transport)
        if hasattr(transport, "max_size"):  # of asyncio's own event loop, without TLS
            transport.max_size = min(_READ_MOST, self.share)
        self._handler.connection_made(transport)
        peer = transport.get_extra_info("peername")
        self._remote = str(peer[0]) if isinstance(peer, tuple) else ""

    def data_received(self, data: bytes) -> None:
        """Answer, or let aiohttp do it."""
        if self._answering:
            self._hold(self._held + data)
            self._transport.pause_reading()
            return
        held = self._hold(b"")
        if self._left == 0:
            request = self._shared.reader.read(held + data)
            if request is not None and self._taken(request, held + data):
                return
            self._left = request.left if request is not None else None
        elif self._left is not None:
            self._left = self._left - len(data) if self._left >= len(data) else None
        if held:
            self._handler.data_received(held)
        self._handler.data_received(data)

    def _taken(self, request: Request, data: bytes) -> bool:
        """Whether the request is not aiohttp's."""
        asker = request.head.asker
        if asker is None or request.left is None or not self._idle():
            return False
        if request.left:
            if self._shared.held + len(data) > _HELD:
                return False
            if not self._shared.answers.expects(request.method, request.target, asker):
                return False
            self._hold(data)
            self._stay(self._handler.keepalive_timeout)
            return True
        body = data[request.end :]
        answer = self._shared.answers.answer(request.method, request.target, asker, self._remote, body)
        if answer is None:
            return False
        if isinstance(answer, bytes):
            self._give(answer)
        else:
            self._answering = True
            self._stay(_PATIENCE)
            self._shared.start(self._make(answer))
        return True

    def _hold(self, data: bytes) -> bytes:
        """Keep these bytes instead of those that were kept, which it gives back."""
        held, self._held = self._held, data
        self._shared.held += len(data) - len(held)
        return held

    async def _make(self, making: Coroutine[Any, Any, bytes]) -> None:
        try:
            answer = await making
        except BaseException:
            self._transport.abort()  # whoever waits learns that no answer comes
            raise
        self._answering = False
        if self._transport.is_closing():
            return
        self._give(answer)
        if self._held:
            self._transport.resume_reading()
            self.data_received(self._hold(b""))
        if self._ended:
            self._leave()

    def _give(self, answer: bytes) -> None:
        self._transport.write(answer)
        self._stay(self._handler.keepalive_timeout)

    def _stay(self, seconds: float) -> None:
        """aiohttp's own timer looks at this before it closes a connection on which nothing comes any more."""
        internals.close_idle_at(self._handler, self._loop.time() + seconds)

    def _idle(self) -> bool:
        """Whether aiohttp waits for a request, with every answer before written, and is not about to close."""
        waiting = internals.waiter(self._handler)
        return waiting is not None and not waiting.done() and not self._handler.writing_paused and self._shared.open

    def eof_received(self) -> bool:
        """The client sends no more; what it has asked for is still answered, but not through TLS.

        Source: RFC 9112, section 9.6, "Tear-down": a half-closed connection.
        """
        self._ended = True
        self._leave()
        return self._transport.get_extra_info("sslcontext") is None

    def _leave(self) -> None:
        """Close the connection once everything that came whole is answered."""
        handler = self._handler
        if self._answering or self._transport.is_closing():
            return
        idle = internals.waiter(handler) is not None and not internals.messages(handler)
        if self._held or idle:  # of what is held the rest does not come
            self._transport.close()
            return
        request, unread = internals.current_request(handler), internals.messages(handler)
        body = unread[-1][1] if unread else request.content if request else None
        if body is not None and not body.is_eof():
            body.set_exception(web.RequestPayloadError("The body ended before its end."))
            body.feed_eof()
        if unread or request is None:  # aiohttp is between two of them, and would not do the next one
            self._loop.call_later(_LOOK_SECONDS, self._leave)
        else:
            handler.close()

    def connection_lost(self, exc: BaseException | None) -> None:
        """The client has gone."""
        self._hold(b"")
        self._shared.connections.discard(self)
        self._handler.connection_lost(exc)

    def pause_writing(self) -> None:
        """The client reads slowly."""
        self._handler.pause_writing()

    def resume_writing(self) -> None:
        """The client has read."""
        self._handler.resume_writing()


ANSWERS = web.AppKey("answers", Answers)
LONGEST_LINE = 64 << 10
"""Bytes of a request's first line, for aiohttp: it answers a longer one with 400, and who is asked can tell more."""


class Shortcuts:
    """For `create_server`: makes the protocol of each connection to an application; None: aiohttp answers all."""

    def __init__(self, server: web.Server, answers: Answers | None) -> None:
        self._server = server
        server.request_handler = _well_formed(server.request_handler)
        self.answers = answers or _NoAnswers()
        self.reader = Reader(self.answers.asker)
        self.open = True
        self.held = 0  # bytes of requests of all connections
        self.connections: WeakSet[Shortcut] = WeakSet()  # one may fail before it is made
        self._under_way: set[asyncio.Task[None]] = set()

    def __call__(self) -> Shortcut:
        """A protocol for one connection. The more there are, the less it reads before someone takes it."""
        share = max(_READ_LEAST, _READ // (len(self.connections) + 1))
        internals.set_read_buffer(self._server, min(_AHEAD_MOST, share) // 2)  # aiohttp keeps two times as much
        connection = Shortcut(self._server(), self, share)
        self.connections.add(connection)
        return connection

    def transports(self) -> list[asyncio.Transport]:
        """Those of all connections that were made."""
        return [found for one in self.connections if (found := one.transport) is not None]

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Let an answer be made."""
        task = asyncio.get_running_loop().create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def close(self, seconds: float) -> None:
        """Leave new requests to aiohttp; what is under way has so long to end. To be called before it closes."""
        self.open = False
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=seconds)
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)


def _well_formed(handler: _Handler) -> _Handler:
    """Refuses what aiohttp would take: HTTP/0.9 or 2.0, which it would answer in that version's name, and bad hosts."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        if internals.version(request) not in (HttpVersion10, HttpVersion11):
            internals.set_version(request, HttpVersion11)  # of the answer; who reads it makes aiohttp remember it
            return _refused(505, "This server speaks HTTP/1.1 and HTTP/1.0.")
        if not is_host(request.headers.get(hdrs.HOST, "")):
            return _refused(400, "The Host header is not a host.")
        if (target := internals.target(request)).absolute:
            host = host_in(target)
            if host is None:
                return _refused(400, "The request's target is not an address of this server.")
            internals.set_host(request, host)  # aiohttp leaves out the port, and the brackets of IPv6
        return await handler(request)

    return handle


def _refused(status: int, text: str) -> web.Response:
    refusal = web.Response(status=status, text=f"{text}\n")
    refusal.force_close()
    return refusal


def protocols(runner: web.AppRunner) -> Shortcuts:
    """The protocols for the runner's application. Raises RuntimeError before the runner is set up."""
    if runner.server is None:
        raise RuntimeError("the runner is not set up")
    return Shortcuts(runner.server, runner.app.get(ANSWERS))
