"""A Docker Engine newer than this machine's, which keeps images in containerd: `scripts/setup --test` unpacks it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from parts.second_engine import bridge

PROGRAM = Path(sys.prefix) / "newer-engine/usr/sbin/dockerd"
WANTED = PROGRAM.exists() or bool(os.environ.get("CI"))
"""Whether tests run it. In CI they do, and fail where it was not unpacked."""


@contextlib.contextmanager
def newer_engine() -> Iterator[str]:
    """The path of its socket."""
    folder = Path(tempfile.mkdtemp(prefix="newer"))  # sockets have short paths
    settings = {"features": {"containerd-snapshotter": True}, "iptables": False, "ip6tables": False, "ip-masq": False}
    (folder / "daemon.json").write_text(json.dumps(settings))
    socket = folder / "docker.sock"
    with bridge() as name, (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                *(str(PROGRAM), "--config-file", f"{folder}/daemon.json", "--host", f"unix://{socket}"),
                *("--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec", "--pidfile", f"{folder}/pid"),
                *("--bridge", name),
            ],
            stdout=log,
            stderr=log,
        )
        try:
            wait_for(socket, process, folder / "log")
            yield str(socket)
        finally:
            process.terminate()
            process.wait(30)
    shutil.rmtree(folder, ignore_errors=True)


def wait_for(socket: Path, process: subprocess.Popen[bytes], log: Path, seconds: float = 60) -> None:
    """Wait until a daemon has made its socket. Fails with its log."""
    end = time.monotonic() + seconds
    while not socket.is_socket():
        assert process.poll() is None, log.read_text(errors="replace")[-2000:]
        assert time.monotonic() < end, log.read_text(errors="replace")[-2000:]
        time.sleep(0.05)
