"""A TCP port in front of another one, where one connection is lost at certain words that it sends."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class LossyLine:
    """`address` is where clients go. Everything is passed on until `lose`."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self.address = ""
        self.lost = threading.Event()
        self._cut = threading.Event()
        self._words = b""
        self.arrives = True

    def lose(self, words: bytes, *, arrives: bool) -> None:
        """The connection that sends these words next is answered no more; `arrives`: what it sends gets there.

        `lost` is set then, and the connection stays until `cut`.
        """
        self.lost.clear()
        self._cut.clear()
        self.arrives = arrives
        self._words = words

    def cut(self) -> None:
        """End the connection that was lost."""
        self._cut.set()

    def loses(self, data: bytes) -> bool:
        """Whether this is where a connection is lost."""
        if not self._words or self._words not in data:
            return False
        self._words = b""
        return True

    def hold(self) -> None:
        """Say that a connection is lost, and wait until it is cut."""
        self.lost.set()
        self._cut.wait()


class _Connection(socketserver.BaseRequestHandler):
    line: LossyLine

    def handle(self) -> None:
        self.silent = False
        with suppress(OSError), socket.create_connection(self.line.target, 5) as there:
            there.settimeout(None)
            threading.Thread(target=self._answers, args=(there,), daemon=True).start()
            while data := self.request.recv(65536):
                if self.line.loses(data):
                    self.silent = True
                    if self.line.arrives:
                        threading.Thread(target=self._rest, args=(data, there), daemon=True).start()
                    self.line.hold()
                    there.shutdown(socket.SHUT_RDWR)  # closing alone tells nothing while the other thread reads it
                    return
                there.sendall(data)

    def _rest(self, data: bytes, there: socket.socket) -> None:
        with suppress(OSError):
            while data:
                there.sendall(data)
                data = self.request.recv(65536)

    def _answers(self, there: socket.socket) -> None:
        with suppress(OSError):
            while data := there.recv(65536):
                if not self.silent:
                    self.request.sendall(data)
        if not self.silent:
            with suppress(OSError):  # so that the other direction ends, too
                self.request.shutdown(socket.SHUT_RDWR)


class _Listener(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False


@contextmanager
def lossy_line(host: str, port: int) -> Iterator[LossyLine]:
    """A line to HOST:PORT."""
    line = LossyLine((host, port))
    handler = type("Connection", (_Connection,), {"line": line})
    with _Listener(("127.0.0.1", 0), handler) as listener:
        line.address = f"127.0.0.1:{listener.server_address[1]}"
        serving = threading.Thread(target=listener.serve_forever, daemon=True)
        serving.start()
        try:
            yield line
        finally:
            line.cut()
            listener.shutdown()
