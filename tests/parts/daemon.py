"""A daemon of the tests' own: what one that makes a socket has, whichever it is."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from parts.waiting import wait_for


@contextlib.contextmanager
def daemon(name: str, command: Callable[[Path], Sequence[str]]) -> Iterator[str]:
    """The path of the socket NAME.sock in a new folder, from which `command` makes what is run."""
    folder = Path(tempfile.mkdtemp(prefix=name))  # sockets have short paths
    socket, log = folder / f"{name}.sock", folder / "log"

    def has_started() -> bool:
        assert process.poll() is None, log.read_text(errors="replace")[-2000:]
        return socket.is_socket()

    with log.open("wb") as output:
        process = subprocess.Popen(command(folder), stdout=output, stderr=output)
        try:
            wait_for(has_started, f"socket of {name} (see {log})")
            yield str(socket)
        finally:
            process.terminate()
            process.wait(30)
    shutil.rmtree(folder, ignore_errors=True)
