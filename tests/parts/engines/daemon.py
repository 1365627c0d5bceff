"""A daemon of the tests' own: what one that makes a socket has, whichever it is."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from parts.suite.waiting import wait_for


@contextlib.contextmanager
def daemon(
    name: str, command: Callable[[Path], Sequence[str]], answers: Callable[[Path], bool] = Path.is_socket
) -> Iterator[str]:
    """The path of the socket NAME.sock in a new folder, from which `command` makes what is run, once it `answers`.

    Raises AssertionError, with the end of its log, for one that ended by itself: before it answered, or later.
    """
    folder = Path(tempfile.mkdtemp(prefix=name))  # sockets have short paths
    socket, log = folder / f"{name}.sock", folder / "log"

    def check_that_it_runs() -> None:
        assert process.poll() is None, f"{name} ended: {log.read_text(errors='replace')[-4000:]}"

    def has_started() -> bool:
        check_that_it_runs()
        return socket.is_socket() and answers(socket)

    with log.open("wb") as output:
        process = subprocess.Popen(command(folder), stdout=output, stderr=output)
        try:
            wait_for(has_started, f"answer of {name} (see {log})", 120)
            yield str(socket)
            check_that_it_runs()
        finally:
            process.terminate()
            process.wait(60)
    remove_with_mounts(folder)


def remove_with_mounts(folder: Path) -> None:
    """Remove a daemon's folder: an Engine leaves the network namespaces of its containers mounted there."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        place = line.split()[1]
        if place.startswith(f"{folder}/"):
            subprocess.run(["umount", "--lazy", place], check=True)
    shutil.rmtree(folder, ignore_errors=True)
