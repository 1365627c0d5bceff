"""A git server over HTTP: `git http-backend` behind a small CGI server on loopback, with a log of its requests."""

from __future__ import annotations

import base64
import contextlib
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import urlsplit

from parts.git.git_repository import ENVIRONMENT
from parts.servers.http_server import served


@dataclass
class GitServer:
    """What the server does, changed by tests while it runs.

    `credentials`: who may come in (None: everybody). `redirect`: a URL that all requests are sent on to. `renamed`:
    paths of repositories that have new ones. `dumb`: plain files only, as a web server without git has them. `old`:
    only the protocol that gives out nothing but what refs point at. `hang`: take requests and never answer. `drip`:
    answer every request for a pack with its beginning, and then nothing.
    """

    root: Path
    address: str = ""
    credentials: tuple[str, str] | None = None
    redirect: str = ""
    renamed: dict[str, str] = field(default_factory=dict)
    dumb: bool = False
    old: bool = False
    hang: bool = False
    drip: bool = False
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    arrived: threading.Event = field(default_factory=threading.Event)
    ending: threading.Event = field(default_factory=threading.Event)

    def url(self, name: str) -> str:
        """The URL of a repository under the root."""
        return f"{self.address}/{name}"


@contextmanager
def git_server(root: Path) -> Iterator[GitServer]:
    """Serve all repositories under `root`."""
    state = GitServer(root)

    class Handler(_Handler):
        server_state = state

    with served(Handler) as state.address:
        try:
            yield state
        finally:
            state.ending.set()


class _Handler(BaseHTTPRequestHandler):
    server_state: GitServer
    protocol_version = "HTTP/1.0"

    def log_message(self, format: str, *args: object) -> None:
        """Be quiet."""

    def do_GET(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def _answer(self, body: bytes) -> None:
        state = self.server_state
        state.requests.append((self.path, dict(self.headers)))
        state.arrived.set()
        if state.hang:
            state.ending.wait()
        elif state.redirect:
            self.send_response(301)
            self.send_header("Location", state.redirect + self.path)
            self.end_headers()
        elif old := next((path for path in state.renamed if self.path.startswith(path + "/")), ""):
            self.send_response(302)
            self.send_header("Location", state.renamed[old] + self.path.removeprefix(old))
            self.end_headers()
        elif not self._welcome():
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
            self.end_headers()
        elif state.dumb:
            self._file()
        else:
            self._backend(body)

    def _welcome(self) -> bool:
        if self.server_state.credentials is None:
            return True
        token = base64.b64encode(":".join(self.server_state.credentials).encode()).decode()
        return self.headers.get("Authorization") == f"Basic {token}"

    def _file(self) -> None:
        path = self.server_state.root / urlsplit(self.path).path.lstrip("/")
        self.send_response(200 if path.is_file() else 404)
        self.end_headers()
        if path.is_file():
            self.wfile.write(path.read_bytes())

    def _backend(self, body: bytes) -> None:
        parts = urlsplit(self.path)
        environment = ENVIRONMENT | {
            "GIT_PROJECT_ROOT": str(self.server_state.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "REQUEST_METHOD": self.command,
            "PATH_INFO": parts.path,
            "QUERY_STRING": parts.query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": "" if self.server_state.old else self.headers.get("Git-Protocol", ""),
            "REMOTE_ADDR": "127.0.0.1",
        }
        done = subprocess.run(["git", "http-backend"], input=body, capture_output=True, env=environment, check=False)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode("latin-1").split("\r\n") if ": " in line)
        self.send_response(int(headers.pop("Status", "200").split()[0]))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            if self.server_state.drip and b"packfile" in content[:4000]:
                self.wfile.write(content[: len(content) // 2])
                self.wfile.flush()
                self.server_state.ending.wait()
            else:
                self.wfile.write(content)
