"""A real ssh server on loopback, which lets one key in and has one thing to say."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from parts.servers.ports import free_ports
from parts.suite.waiting import wait_for


@dataclass(frozen=True)
class SshServer:
    """Where it listens, what a client must know of it, and its log."""

    port: int
    known_host: str
    log: Path


@contextlib.contextmanager
def ssh_server(public_key: str, says: str) -> Iterator[SshServer]:
    """Let root in by this key, and print these words instead of a shell. It takes root."""
    (port,) = free_ports(1)
    folder = Path(tempfile.mkdtemp(prefix="sshd"))
    Path("/run/sshd").mkdir(exist_ok=True)  # it wants it, whatever it is told
    (folder / "authorized").write_text(public_key)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "host"], check=True)
    settings = {
        "ListenAddress": f"127.0.0.1:{port}",
        "HostKey": folder / "host",
        "PidFile": "none",
        "UsePAM": "no",
        "AuthorizedKeysFile": folder / "authorized",
        "StrictModes": "no",
        "PasswordAuthentication": "no",
        "PermitRootLogin": "prohibit-password",
        "ForceCommand": f"echo {says}",
    }
    (folder / "config").write_text("".join(f"{key} {value}\n" for key, value in settings.items()))
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(["/usr/sbin/sshd", "-D", "-e", "-f", folder / "config"], stderr=output)
        try:
            wait_for(lambda: _listens(port), "the ssh server")
            known = f"[127.0.0.1]:{port} {(folder / 'host.pub').read_text()}"
            yield SshServer(port, known, log)
        finally:
            process.terminate()
            process.wait(60)
            shutil.rmtree(folder)


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
        return True
    return False
