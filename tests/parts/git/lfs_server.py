"""A Git LFS server on loopback: the batch API and basic downloads, with a log of its requests."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

from parts.servers.http_server import served


@dataclass
class LfsServer:
    """What the server does. `files` by SHA-256; `credentials`: who may ask; `href`: where downloads are, if elsewhere.

    `redirect`: where downloads are sent on to. `padding`: bytes that each object's part of an answer has besides.
    `refusal`: what every question is answered with, as status and message.
    """

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    credentials: tuple[str, str] | None = None
    href: str = ""
    redirect: str = ""
    padding: int = 0
    refusal: tuple[int, str] | None = None
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def add(self, content: bytes) -> str:
        """Keep a file; the pointer to it."""
        oid = hashlib.sha256(content).hexdigest()
        self.files[oid] = content
        return pointer(oid, len(content))


def pointer(oid: str, size: int) -> str:
    """The text of a pointer."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {size}\n"


@contextmanager
def lfs_server() -> Iterator[LfsServer]:
    """Run one."""
    state = LfsServer()

    class Handler(_Handler):
        server_state = state

    with served(Handler) as state.address:
        yield state


class _Handler(BaseHTTPRequestHandler):
    server_state: LfsServer

    def log_message(self, format: str, *args: object) -> None:
        """Be quiet."""

    def do_POST(self) -> None:
        state = self.server_state
        state.requests.append((self.path, dict(self.headers)))
        question = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        if state.credentials is not None:
            token = base64.b64encode(":".join(state.credentials).encode()).decode()
            if self.headers.get("Authorization") != f"Basic {token}":
                self._send(401, b"")
                return
        if state.refusal is not None:
            status, message = state.refusal
            self._send(status, json.dumps({"message": message}).encode())
            return
        objects = [self._object(each["oid"]) for each in question["objects"]]
        self._send(200, json.dumps({"transfer": "basic", "objects": objects}).encode())

    def _object(self, oid: str) -> dict[str, object]:
        state = self.server_state
        if oid not in state.files:
            return {"oid": oid, "size": 1, "error": {"code": 404, "message": "not there"}}
        href = f"{state.href or state.address}/files/{oid}?signed=a%2Fb"
        action = {"href": href, "header": {"X-Leave": "granted"}}
        return {"oid": oid, "size": 1, "actions": {"download": action}, "padding": "x" * state.padding}

    def do_GET(self) -> None:
        state = self.server_state
        state.requests.append((self.path, dict(self.headers)))
        oid = self.path.partition("?")[0].rpartition("/")[2]
        if state.redirect:
            self.send_response(302)
            self.send_header("Location", f"{state.redirect}/files/{oid}")
            self.end_headers()
        elif oid in state.files:
            self._send(200, state.files[oid])
        else:
            self._send(404, b"")

    def _send(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
