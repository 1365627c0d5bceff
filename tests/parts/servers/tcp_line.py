"""A TCP port in front of another one, with trouble on the way: it narrows to nothing, or loses a connection."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TypeVar


@dataclass
class Way:
    """One connection: the client's end and the far one. While it is `silent`, no answers come back."""

    client: socket.socket
    there: socket.socket
    silent: bool = False


class TcpLine:
    """`address` is where clients go; nobody needs to listen behind it yet."""

    def __init__(self, host: str, port: int) -> None:
        self.target = (host, port)
        self.address = ""

    def pass_on(self, data: bytes, way: Way) -> None:
        """Do with what a client has sent what this line does. An OSError ends the connection."""
        raise NotImplementedError

    def end(self) -> None:
        """Let nobody wait any more."""
        raise NotImplementedError


class NarrowLine(TcpLine):
    """What clients send is passed on until `hold_after` bytes have come."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(host, port)
        self.held = threading.Event()
        self._open = threading.Event()
        self._open.set()
        self._left = 0
        self._lock = threading.Lock()

    def hold_after(self, count: int) -> None:
        """Pass `count` more bytes on and then nothing; `held` is set as soon as somebody waits."""
        self.held.clear()
        with self._lock:
            self._left = count
        self._open.clear()

    def let_go(self) -> None:
        """Pass everything on."""
        self._open.set()

    end = let_go

    def pass_on(self, data: bytes, way: Way) -> None:
        """Send the data, now or when the line is open again."""
        if not self._open.is_set():
            with self._lock:
                now = min(self._left, len(data))
                self._left -= now
            way.there.sendall(data[:now])
            data = data[now:]
            if data:
                self.held.set()
                self._open.wait()
        way.there.sendall(data)


class LossyLine(TcpLine):
    """Everything is passed on until `lose`."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(host, port)
        self.lost = threading.Event()
        self._cut = threading.Event()
        self._words = b""
        self._arrives = True

    def lose(self, words: bytes, *, arrives: bool) -> None:
        """The connection that sends these words next is answered no more; `arrives`: what it sends gets there.

        `lost` is set then, and the connection stays until `cut`.
        """
        self.lost.clear()
        self._cut.clear()
        self._arrives = arrives
        self._words = words

    def cut(self) -> None:
        """End the connection that was lost."""
        self._cut.set()

    end = cut

    def pass_on(self, data: bytes, way: Way) -> None:
        """Send the data, unless this is where the connection is lost."""
        if not self._words or self._words not in data:
            way.there.sendall(data)
            return
        self._words = b""
        way.silent = True
        if self._arrives:
            threading.Thread(target=_send_all, args=(data, way), daemon=True).start()
        self.lost.set()
        self._cut.wait()
        raise ConnectionAbortedError


def _send_all(data: bytes, way: Way) -> None:
    with suppress(OSError):
        while data:
            way.there.sendall(data)
            data = way.client.recv(65536)


class _Connection(socketserver.BaseRequestHandler):
    line: TcpLine

    def handle(self) -> None:
        with suppress(OSError), socket.create_connection(self.line.target, 5) as there:
            there.settimeout(None)
            way = Way(self.request, there)
            back = threading.Thread(target=_answer, args=(way,), daemon=True)
            back.start()
            try:
                while data := self.request.recv(65536):
                    self.line.pass_on(data, way)
                there.shutdown(socket.SHUT_WR)
                back.join()
            finally:  # closing alone tells the far end nothing while the other thread reads
                with suppress(OSError):
                    there.shutdown(socket.SHUT_RDWR)


def _answer(way: Way) -> None:
    with suppress(OSError):
        while data := way.there.recv(65536):
            if not way.silent:
                way.client.sendall(data)
    if not way.silent:
        with suppress(OSError):  # so that the other direction ends, too
            way.client.shutdown(socket.SHUT_RDWR)


class _Listener(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False


_Line = TypeVar("_Line", bound=TcpLine)


@contextmanager
def opened(line: _Line) -> Iterator[_Line]:
    """The line while the block runs."""
    handler = type("Connection", (_Connection,), {"line": line})
    with _Listener(("127.0.0.1", 0), handler) as listener:
        line.address = f"127.0.0.1:{listener.server_address[1]}"
        thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield line
        finally:
            line.end()
            listener.shutdown()
            thread.join()
