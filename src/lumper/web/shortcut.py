"""Requests that are answered at once, from memory, before aiohttp makes objects and tasks of them.

`Shortcut` stands between a connection and aiohttp's protocol. It answers a request itself if that came whole, in one
piece and strictly as RFC 9112 has it, while nothing else is under way on the connection, and if `Answers` has the
answer at hand. Everything else goes to aiohttp, byte for byte: this way only makes answers quicker, never others.

Where one request ends and the next one begins is known as long as all bodies have a length; the first one without, or
anything that is not understood, leaves the rest of the connection to aiohttp.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, cast

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

_MOST_BYTES = 4096  # of a head
_REMEMBERED = 4096  # heads
_TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_CHANGES_FRAMING = frozenset({"transfer-encoding", "upgrade", "expect", "http2-settings", "trailer"})


@dataclass(frozen=True)
class Asker:
    """What header fields tell of who sends them: by which ticket they are known, and for whom a proxy speaks."""

    ticket: bytes | None
    forwarded: Mapping[str, str]


class Answers(Protocol):
    """What can be answered at once. Neither method may wait or fail."""

    def asker(self, fields: Mapping[str, str]) -> Asker | None:
        """Who sends these header fields, whose names are in lower case; None if they mean something else, too."""

    def answer(self, method: str, target: str, asker: Asker, remote: str) -> bytes | None:
        """The whole answer, or None if it is not at hand. `remote` is the address that the connection comes from."""


@dataclass(frozen=True)
class _Head:
    """Header fields that were read: the length of the body, and what `Answers.asker` said."""

    length: int
    asker: Asker | None


@dataclass(frozen=True)
class _Request:
    """A request whose head came whole. `left` is what is still to come of its body, None if too much came."""

    method: str
    target: str
    head: _Head
    left: int | None


class Reader:
    """Reads the heads of requests. Clients send the same fields over and over: what they mean is remembered.

    Credentials are among them, so they are remembered by a keyed hash only.
    """

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._salt = secrets.token_bytes(32)
        self._heads: OrderedDict[bytes, _Head] = OrderedDict()

    def read(self, data: bytes) -> _Request | None:
        """The request that begins here; None if it is not whole or not plain."""
        end = data.find(b"\r\n\r\n") + 4
        if not 4 <= end <= _MOST_BYTES:
            return None
        line, _, fields = data[:end].partition(b"\r\n")
        parts = line.split(b" ")
        if len(parts) != 3 or parts[2] != b"HTTP/1.1" or not line.isascii():
            return None
        method, target = parts[0].decode(), parts[1].decode()
        if not (method.isalpha() and method.isupper() and target.startswith("/") and target.isprintable()):
            return None
        key = hashlib.blake2b(fields, key=self._salt, digest_size=32).digest()
        head = self._heads.get(key)
        if head is None:
            head = self._understood(fields)
            if head is None:
                return None
            self._heads[key] = head
            if len(self._heads) > _REMEMBERED:
                self._heads.popitem(last=False)
        left = head.length - (len(data) - end)
        return _Request(method, target, head, left if left >= 0 else None)

    def _understood(self, data: bytes) -> _Head | None:
        fields = read_fields(data)
        if fields is None or "host" not in fields or not _CHANGES_FRAMING.isdisjoint(fields):
            return None
        if fields.pop("connection", "keep-alive").lower() != "keep-alive":
            return None
        length = fields.pop("content-length", "")
        if length and not (length.isdecimal() and len(length) < 16):
            return None
        return _Head(int(length or 0), None if length else self._answers.asker(fields))


def read_fields(data: bytes) -> dict[str, str] | None:
    """Header fields up to and with the empty line, names in lower case; None for what is not strictly RFC 9112."""
    fields: dict[str, str] = {}
    if not data.isascii():
        return None
    for line in data.decode("ascii").removesuffix("\r\n\r\n").split("\r\n"):
        name, _, value = line.partition(":")
        value = value.strip(" ")
        if not (name and _TOKEN.issuperset(name) and value and value.isprintable()):
            return None
        if name.lower() in fields:  # which one counts depends on the reader
            return None
        fields[name.lower()] = value
    return fields


class Shortcut(asyncio.Protocol):
    """One connection."""

    def __init__(self, handler: RequestHandler, reader: Reader, answers: Answers) -> None:
        self._handler = handler
        self._reader = reader
        self._answers = answers
        self._left: int | None = 0  # of the body that comes; None: unknown from here on
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has come."""
        self._transport = cast("asyncio.Transport", transport)
        self._handler.connection_made(transport)
        peer = transport.get_extra_info("peername")
        self._remote = str(peer[0]) if isinstance(peer, tuple) else ""

    def data_received(self, data: bytes) -> None:
        """Answer, or let aiohttp do it."""
        if self._left == 0:
            request = self._reader.read(data)
            if request is not None and request.head.asker is not None and request.left == 0 and self._idle():
                answer = self._answers.answer(request.method, request.target, request.head.asker, self._remote)
                if answer is not None:
                    self._transport.write(answer)
                    # aiohttp's own timer looks at this before it closes a connection on which nothing comes any more
                    self._handler._next_keepalive_close_time = self._loop.time() + self._handler.keepalive_timeout
                    return
            self._left = request.left if request is not None else None
        elif self._left is not None:
            self._left = self._left - len(data) if self._left >= len(data) else None
        self._handler.data_received(data)

    def _idle(self) -> bool:
        """Whether aiohttp waits for a request, with every answer before written, and is not about to close."""
        waiter = self._handler._waiter
        return waiter is not None and not waiter.done() and not self._handler.writing_paused

    def eof_received(self) -> None:
        """The client sends no more."""
        self._handler.eof_received()

    def connection_lost(self, exc: BaseException | None) -> None:
        """The client has gone."""
        self._handler.connection_lost(exc)

    def pause_writing(self) -> None:
        """The client reads slowly."""
        self._handler.pause_writing()

    def resume_writing(self) -> None:
        """The client has read."""
        self._handler.resume_writing()


ANSWERS = web.AppKey("answers", Answers)


def protocols(runner: web.AppRunner) -> Callable[[], asyncio.Protocol]:
    """For `create_server`: what makes a protocol for each connection to the application, with its `ANSWERS`.

    Raises RuntimeError before the runner is set up.
    """
    server, answers = runner.server, runner.app.get(ANSWERS)
    if server is None:
        raise RuntimeError("the runner is not set up")
    if answers is None:
        return server
    reader = Reader(answers)
    return lambda: Shortcut(server(), reader, answers)
