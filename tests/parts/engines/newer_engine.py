"""A Docker Engine newer than this machine's, which keeps images in containerd: `scripts/setup --test` unpacks it."""

from __future__ import annotations

import contextlib
import json
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

from parts.engines.daemon import daemon
from parts.engines.second_engine import bridge
from parts.suite.needs import lacking

PROGRAM = Path(sys.prefix) / "newer-engine/usr/sbin/dockerd"
BUILDX = Path(sys.prefix) / "newer-engine/usr/libexec/docker/cli-plugins/docker-buildx"


@contextlib.contextmanager
def newer_engine(*options: str) -> Iterator[str]:
    """The path of its socket; `options` are more of dockerd's."""

    def command(folder: Path) -> list[str]:
        settings = {"features": {"containerd-snapshotter": True}, "iptables": False, "ip6tables": False}
        (folder / "daemon.json").write_text(json.dumps(settings | {"ip-masq": False}))
        return [
            *(str(PROGRAM), "--config-file", f"{folder}/daemon.json", "--host", f"unix://{folder}/docker.sock"),
            *("--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec", "--pidfile", f"{folder}/pid"),
            *("--bridge", name, *options),
        ]

    if not PROGRAM.exists():
        lacking("No newer Docker Engine is here (on Debian, `scripts/setup --test` unpacks one)")
    with bridge() as name, daemon("docker", command, _answers) as path:
        yield path


def _answers(path: Path) -> bool:
    """Whether it does: the socket is there a second before the engine is, which may end instead."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(path))
        connection.sendall(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")
        return b" 200 " in connection.recv(64)
    return False
