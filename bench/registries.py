"""The servers that bench/registry.py compares, each as a process of its own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from raw_http import Connection, authorization

_TICKS = os.sysconf("SC_CLK_TCK")

DISTRIBUTION = """\
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage:
  cache: {{blobdescriptor: inmemory}}
  filesystem: {{rootdirectory: {folder}}}
http: {{addr: "127.0.0.1:{port}"}}
"""
NGINX = """\
user root;
worker_processes 2;
daemon off;
error_log {folder}/error.log;
pid {folder}/pid;
events {{}}
http {{
  access_log off;
  sendfile on;
  tcp_nopush on;
  sendfile_max_chunk 0;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{ listen 127.0.0.1:{port}; root {folder}/www; }}
}}
"""


@dataclass
class Server:
    """A running server. `login` is what a token is had for; `blob_url` where a blob of a repository is fetched."""

    name: str
    port: int
    process: subprocess.Popen[bytes]
    blob_file: Callable[[str], Path]
    login: tuple[str, str] | None = None
    blob_url: Callable[[str, str], str] = "/v2/{}/blobs/{}".format

    def token(self, repository: str) -> str:
        """A fresh Authorization header for this repository, "" where none is asked for."""
        return authorization(self.port, self.login, f"repository:{repository}:pull,push")

    def _processes(self) -> list[Path]:
        mine = str(self.process.pid)
        stats = [path for path in Path("/proc").glob("[0-9]*") if _parent(path) == mine]
        return [Path(f"/proc/{mine}"), *stats]

    def cpu(self) -> float:
        """CPU seconds so far, with those of its own children."""
        found = [(path / "stat").read_text().rpartition(")")[2].split() for path in self._processes()]
        return sum(int(fields[11]) + int(fields[12]) for fields in found) / _TICKS

    def memory(self) -> tuple[float, float]:
        """The most memory that the process had resident, and how much is now its own and no file's, in MB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        most, own = (int(status.split(f"{name}:")[1].split()[0]) / 1000 for name in ("VmHWM", "RssAnon"))
        return most, own

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def _parent(process: Path) -> str:
    try:
        return (process / "stat").read_text().rpartition(")")[2].split()[1]
    except OSError:
        return ""


def distribution(folder: Path, program: str = "docker-registry") -> Server:
    """Debian's docker-registry, or a newer `registry`, with its defaults, no accounts, and no log of every request."""
    port = _free_port()
    folder.mkdir()
    (folder / "config.yml").write_text(DISTRIBUTION.format(folder=folder / "data", port=port))
    process = _spawn(folder, program, "serve", str(folder / "config.yml"))
    _answering(port, folder)
    blobs = folder / "data" / "docker" / "registry" / "v2" / "blobs" / "sha256"
    return Server(Path(program).name, port, process, lambda digest: blobs / digest[7:9] / digest[7:] / "data")


def lumper(folder: Path) -> Server:
    """`lumper registry`, as it comes: tokens, rights, metadata in SQLite, everything durable.

    It is started on a folder that was there already: making the tables of a new one takes memory only that once.
    """
    port = _free_port()
    folder.mkdir()
    data = folder / "data"
    command = (sys.executable, "-m", "lumper", "registry", "--listen", f"127.0.0.1:{port}", "--data", str(data))
    first = _spawn(folder, *command)
    _answering(port, folder)
    first.terminate()
    first.wait(10)
    process = _spawn(folder, *command)
    _answering(port, folder)
    blobs = data / "registry" / "blobs" / "sha256"
    login = ("operator", (data / "tokens" / "operator").read_text().strip())
    return Server("lumper", port, process, lambda digest: blobs / digest[7:9] / digest[7:], login)


def nginx(folder: Path) -> Server | None:
    """nginx that sends files from `folder`/www by sendfile(2); None where it is not installed."""
    if shutil.which("nginx") is None:
        return None
    port = _free_port()
    (folder / "www").mkdir(parents=True)
    folder.chmod(0o755)
    (folder / "config").write_text(NGINX.format(folder=folder, port=port))
    process = _spawn(folder, "nginx", "-p", str(folder), "-c", str(folder / "config"))
    _answering(port, folder)
    files, urls = (lambda digest: folder / "www" / digest[7:]), (lambda _, digest: f"/{digest[7:]}")
    return Server("nginx", port, process, files, blob_url=urls)


def _spawn(folder: Path, *command: str) -> subprocess.Popen[bytes]:
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answering(port: int, folder: Path) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            with Connection(port) as connection:
                connection.request("GET", "/v2/")
                return
        except ConnectionError:
            time.sleep(0.02)
    raise SystemExit(f"no server came up in {folder}:\n{(folder / 'log').read_text()[-2000:]}")
