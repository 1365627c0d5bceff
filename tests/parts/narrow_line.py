"""A TCP port in front of another one that stops passing bytes on in the middle, and goes on when it is told to."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class NarrowLine:
    """`address` is where clients go. What they send is passed on until `hold_after` bytes have come."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self.address = ""
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

    def pass_on(self, data: bytes, to: socket.socket) -> None:
        """Send the data, now or when the line is open again."""
        if not self._open.is_set():
            with self._lock:
                now = min(self._left, len(data))
                self._left -= now
            to.sendall(data[:now])
            data = data[now:]
            if data:
                self.held.set()
                self._open.wait()
        to.sendall(data)


class _Connection(socketserver.BaseRequestHandler):
    line: NarrowLine

    def handle(self) -> None:
        with suppress(OSError), socket.create_connection(self.line.target, 5) as there:
            there.settimeout(None)
            back = threading.Thread(target=self._answers, args=(there,), daemon=True)
            back.start()
            while data := self.request.recv(65536):
                self.line.pass_on(data, there)
            there.shutdown(socket.SHUT_WR)
            back.join()

    def _answers(self, there: socket.socket) -> None:
        with suppress(OSError):
            while data := there.recv(65536):
                self.request.sendall(data)
        with suppress(OSError):  # so that the other direction ends, too
            self.request.shutdown(socket.SHUT_RDWR)


class _Listener(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False


@contextmanager
def narrow_line(host: str, port: int) -> Iterator[NarrowLine]:
    """A line to HOST:PORT, where nobody needs to listen yet."""
    line = NarrowLine((host, port))
    handler = type("Connection", (_Connection,), {"line": line})
    with _Listener(("127.0.0.1", 0), handler) as listener:
        line.address = f"127.0.0.1:{listener.server_address[1]}"
        thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield line
        finally:
            line.let_go()
            listener.shutdown()
            thread.join()
