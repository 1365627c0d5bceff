"""`lumper ARGUMENTS` in a process of its own, forked from one that has imported all of Lumper: most of a start is that.

It is killed, waited for and given streams, a folder and an environment as any other process; what it does begins where
the program does. Only the imports are not its own: `unit/cli/test_lean_start.py` and
`integration/commands/test_wheel.py` have
those, and whoever measures memory starts Python itself.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from functools import cache
from io import TextIOWrapper
from pathlib import Path
from typing import IO, Any

import lumper.cli
import lumper.wiring
from lumper.cli.entry import main

_MOST = 1 << 20  # bytes of an order: arguments and environment
_AT_START = ("LC_", "LANG", "LD_", "MALLOC_", "OPENSSL_", "PYTHON", "SSL_CERT_")
"""What these variables say is looked at while Python starts, or while it imports."""


class ForkedLumper:
    """The process. It has the methods of `subprocess.Popen` that tests need."""

    def __init__(
        self, arguments: Sequence[str], settings: Mapping[str, str], streams: Sequence[int], *, session: bool
    ) -> None:
        """`settings` are its whole environment, `streams` its input, output and errors. `session`: it gets its own."""
        self._told, theirs = os.pipe()
        order = {
            "arguments": list(arguments),
            "environment": dict(settings),
            "folder": str(Path.cwd()),
            "session": session,
        }
        try:
            socket.send_fds(_first(), [json.dumps(order).encode()], [*streams, theirs])
        finally:
            os.close(theirs)
        self._status: int | None = None
        self.pid = self._number()

    def _number(self) -> int:
        line = b""
        while not line.endswith(b"\n"):
            read = os.read(self._told, 1)
            if not read:
                raise RuntimeError("the process that others are forked from has ended")
            line += read
        return int(line)

    def poll(self) -> int | None:
        """Its status if it has ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self._status

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it ends; its status. Raises subprocess.TimeoutExpired."""
        if self._status is None:
            if not select.select([self._told], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("lumper", timeout or 0)
            self._status = self._number()
            os.close(self._told)
        return self._status

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it has not ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """As `kill -9` does."""
        self.send_signal(signal.SIGKILL)


def start(
    arguments: Sequence[str],
    settings: Mapping[str, str],
    *,
    out: IO[bytes],
    err: IO[bytes] | None = None,
    given: IO[bytes] | None = None,
    session: bool = False,
    fresh: bool = False,
) -> ForkedLumper | subprocess.Popen[bytes]:
    """Start `lumper ARGUMENTS` with `settings` as its whole environment; errors go where other output does, or apart.

    It is forked, unless it has to be `fresh` or a start of Python looks at one of the settings. `session`: it gets its
    own.
    """
    with Path(os.devnull).open("rb") as nothing:
        streams = [(given or nothing).fileno(), out.fileno(), (err or out).fileno()]
        if not fresh and _looked_at(settings) == _looked_at(environment()):
            return ForkedLumper(arguments, settings, streams, session=session)
        return subprocess.Popen(
            [sys.executable, "-m", "lumper", *arguments],
            stdin=streams[0],
            stdout=streams[1],
            stderr=streams[2],
            env=settings,
            start_new_session=session,
        )


def environment(settings: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a process without any settings of Lumper's but these."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("LUMPER_")}
    return clean | {"LC_ALL": "C.UTF-8"} | dict(settings or {})


def _looked_at(settings: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in settings.items() if name.startswith(_AT_START)}


_beginning = threading.Lock()


def _first() -> socket.socket:
    """A connection to the process that all others are forked from. It ends with this one."""
    with _beginning:
        return _begun()


@cache
def _begun() -> socket.socket:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    here = str(Path(__file__).parents[2])
    code = f"import sys; sys.path.insert(1, {here!r}); from parts.processes.forked_lumper import serve; serve()"
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-c", code], stdin=theirs.fileno(), env=environment(), start_new_session=True
        )

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours


def serve() -> None:
    """Import Lumper and fork on every order, until nobody can give one any more."""
    _import_all()
    assert threading.active_count() == 1
    orders = socket.socket(fileno=os.dup(0))
    running: dict[int, tuple[int, int]] = {}  # the process and whom to tell of its end, by its pidfd
    waiting = select.poll()
    waiting.register(orders, select.POLLIN)
    while True:
        for ready, _ in waiting.poll():
            if ready in running:
                waiting.unregister(ready)
                _ended(ready, *running.pop(ready))
                continue
            data, given, *_ = socket.recv_fds(orders, _MOST, 4)
            if not data:
                return None
            pid = os.fork()
            if not pid:
                return _become(json.loads(data), given)
            for each in given[:3]:
                os.close(each)
            os.write(given[3], f"{pid}\n".encode())
            pidfd = os.pidfd_open(pid)
            running[pidfd] = (pid, given[3])
            waiting.register(pidfd, select.POLLIN)


def _ended(pidfd: int, pid: int, told: int) -> None:
    _, status = os.waitpid(pid, 0)
    with contextlib.suppress(BrokenPipeError):  # nobody waits for it
        os.write(told, f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os.close(told)
    os.close(pidfd)


def _import_all() -> None:
    """Import what any command does."""
    for package in (lumper.cli, lumper.wiring):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(found.name)
    gc.collect()
    gc.freeze()  # or else a collection writes to every page that is shared


def _become(order: dict[str, Any], given: Sequence[int]) -> None:
    """Be the process that was ordered, and run the program; Python ends it as it ends any other."""
    if order["session"]:
        os.setsid()
    os.chdir(order["folder"])
    for number, each in enumerate(given[:3]):
        os.dup2(each, number)
    os.closerange(3, max(int(each.name) for each in Path("/proc/self/fd").iterdir()) + 1)
    os.environ.clear()
    os.environ.update(order["environment"])
    time.tzset()
    sys.stdin, sys.stdout, sys.stderr = map(_stream, (0, 1, 2), "rww", ("strict", "strict", "backslashreplace"))
    sys.path[:2] = [order["folder"]]
    sys.argv = ["lumper", *order["arguments"]]
    main()


def _stream(number: int, mode: str, errors: str) -> TextIOWrapper:
    """One of the three, as Python makes them."""
    return TextIOWrapper(
        open(number, f"{mode}b", closefd=False), encoding="utf-8", errors=errors, line_buffering=number == 2
    )
