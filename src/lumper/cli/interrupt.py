"""Waiting for a server in such a way that Ctrl-C always ends it.

Python's handler of a signal only notes it; the interpreter raises KeyboardInterrupt when it next runs. A signal that
comes when a read has begun, but does not wait in the kernel yet, is noticed when the read ends, which may be never. So
what may wait for long waits for the connection and, with it, for the byte that the handler writes for every signal.
https://docs.python.org/3/library/signal.html#signal.set_wakeup_fd
"""

from __future__ import annotations

import contextlib
import encodings.idna  # noqa: F401 - it would be imported when a server is looked up, where Ctrl-C becomes an error
import http.client
import io
import select
import signal
import socket
import threading
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def woken_by_signals() -> Iterator[socket.socket | None]:
    """What becomes readable with every signal; None outside the main thread, where no signal interrupts anything."""
    if threading.current_thread() is not threading.main_thread():
        yield None
        return
    ours, handlers = socket.socketpair()
    with ours, handlers:
        ours.setblocking(False)
        handlers.setblocking(False)
        before = signal.set_wakeup_fd(handlers.fileno(), warn_on_full_buffer=False)
        try:
            yield ours
        finally:
            signal.set_wakeup_fd(before)


class Response(http.client.HTTPResponse):
    """An answer whose bytes are waited for together with signals."""

    def __init__(self, sock: socket.socket, *arguments: Any, woken: socket.socket | None, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        self.fp = io.BufferedReader(_Waiting(self.fp.detach(), sock, woken)) if woken else self.fp


class _Waiting(io.RawIOBase):
    def __init__(self, raw: io.RawIOBase, sock: socket.socket, woken: socket.socket) -> None:
        self._raw = raw
        self._sock = sock
        self._woken = woken
        self._either = select.poll()
        self._either.register(sock, select.POLLIN)
        self._either.register(woken, select.POLLIN)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Raises TimeoutError, and what the handlers of signals raise."""
        decrypted = getattr(self._sock, "pending", None)
        while not (decrypted and decrypted()):
            timeout = self._sock.gettimeout()
            ready = [number for number, _ in self._either.poll(None if timeout is None else timeout * 1000)]
            if not ready:
                raise TimeoutError("timed out")
            if self._woken.fileno() in ready:
                self._woken.recv(4096)
            if self._sock.fileno() in ready:
                break
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()
