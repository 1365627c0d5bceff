"""A client that costs next to nothing, so that what is measured is the server.

Bodies go out by sendfile(2) from memory and come in as MSG_TRUNC: the kernel throws them away instead of copying them.
Small requests are sent by one loop over epoll(7) with prepared bytes.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import select
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Self

_PIECE = 32 << 10  # bytes; the pieces in which Go's HTTP client, and so Docker, sends a body of unknown length
_FRAME = b"%x\r\n" % _PIECE
_ROOM = 4 << 20
_ACCEPT = "Accept: application/vnd.oci.image.manifest.v1+json\r\n"


@dataclass
class Answer:
    """What came back. `body` is empty where it was thrown away."""

    status: int
    headers: dict[str, str]
    body: bytes = b""


class Connection:
    """One connection that stays open, and is made anew after an answer that says so."""

    def __init__(self, port: int, authorization: str = "") -> None:
        self._port = port
        self._socket = self._connected()
        self._common = "Host: 127.0.0.1\r\n" + (f"Authorization: {authorization}\r\n" if authorization else "")
        self._room = bytearray(_ROOM)

    def _connected(self) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self._port), 60)
        connection.settimeout(None)  # with a time-out each call would be two
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def head(self, method: str, path: str, headers: str = "") -> bytes:
        """The bytes of a request up to its body; `headers` are whole lines."""
        return f"{method} {path} HTTP/1.1\r\n{self._common}{headers}\r\n".encode()

    def request(self, method: str, path: str, body: bytes = b"", headers: str = "") -> Answer:
        """A small request, with its answer read whole."""
        if method in ("POST", "PUT", "PATCH"):
            headers += f"Content-Length: {len(body)}\r\n"
        self._socket.sendall(self.head(method, path, headers) + body)
        return self._answer(keep=True, bodiless=method == "HEAD")

    def send(self, method: str, path: str, body: Body, *, chunked: bool) -> Answer:
        """A request with a large body."""
        kind = "Transfer-Encoding: chunked\r\n" if chunked else f"Content-Length: {body.size}\r\n"
        self._socket.sendall(self.head(method, path, kind + "Content-Type: application/octet-stream\r\n"))
        descriptor, size = body.chunked if chunked else (body.plain, body.size)
        sent = 0
        while sent < size:
            sent += os.sendfile(self._socket.fileno(), descriptor, sent, size - sent)
        return self._answer(keep=True)

    def fetch(self, path: str) -> int:
        """Get something large and throw it away; its size."""
        self._socket.sendall(self.head("GET", path))
        answer = self._answer(keep=False)
        assert answer.status == 200, answer
        return int(answer.headers["content-length"])

    def _answer(self, *, keep: bool, bodiless: bool = False) -> Answer:
        data = b""
        while b"\r\n\r\n" not in data:
            part = self._socket.recv(65536)
            if not part:
                raise ConnectionError(f"the server hung up after {data!r}")
            data += part
        top, _, body = data.partition(b"\r\n\r\n")
        status, *lines = top.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        left = 0 if bodiless else int(headers.get("content-length", 0)) - len(body)
        while left > 0:
            if keep:
                part = self._socket.recv(left)
                body, got = body + part, len(part)
            else:
                got = self._socket.recv_into(self._room, min(left, _ROOM), socket.MSG_TRUNC)
            if not got:
                raise ConnectionError("the server hung up in the middle")
            left -= got
        if headers.get("connection", "").lower() == "close":
            self._socket.close()
            self._socket = self._connected()
        return Answer(int(status.split()[1]), headers, body if keep else b"")


@dataclass
class Body:
    """Bytes in memory to be sent, made different from all before by `renew`; `framed` also in chunks."""

    size: int
    framed: bool = False
    plain: int = field(init=False)
    chunked: tuple[int, int] = -1, 0
    digest: str = ""

    def __post_init__(self) -> None:
        block = os.urandom(1 << 20)
        assert self.size % len(block) == 0
        self.plain = os.memfd_create("body")
        for _ in range(self.size // len(block)):
            os.write(self.plain, block)
        if self.framed:
            chunks = b"".join(_FRAME + block[at : at + _PIECE] + b"\r\n" for at in range(0, len(block), _PIECE))
            descriptor, end = os.memfd_create("chunks"), b"0\r\n\r\n"
            for _ in range(self.size // len(block)):
                os.write(descriptor, chunks)
            os.write(descriptor, end)
            self.chunked = descriptor, len(chunks) * (self.size // len(block)) + len(end)
        self.renew()

    def renew(self) -> Self:
        """Change the first bytes; nobody has seen this digest."""
        salt = os.urandom(64)
        os.pwrite(self.plain, salt, 0)
        if self.framed:
            os.pwrite(self.chunked[0], salt, len(_FRAME))
        hashed = hashlib.sha256()
        for at in range(0, self.size, _ROOM):
            hashed.update(os.pread(self.plain, _ROOM, at))
        self.digest = f"sha256:{hashed.hexdigest()}"
        return self


def authorization(port: int, login: tuple[str, str] | None, scope: str) -> str:
    """The header that a Docker client would send after its login; "" where nobody asks for one."""
    if login is None:
        return ""
    basic = "Basic " + base64.b64encode(":".join(login).encode()).decode()
    with Connection(port, basic) as connection:
        answer = connection.request("GET", f"/v2/token?service=lumper&scope={scope}")
        assert answer.status == 200, answer
        return f"Bearer {json.loads(answer.body)['token']}"


def push(connection: Connection, repository: str, body: Body, way: str) -> None:
    """Push a blob: `patch` with its length, `chunked` as Docker does, or at once by `put`."""
    begun = connection.request("POST", f"/v2/{repository}/blobs/uploads/")
    assert begun.status == 202, begun
    where = _path(begun)
    if way != "put":
        patched = connection.send("PATCH", where, body, chunked=way == "chunked")
        assert patched.status == 202, patched
        where = _path(patched)
    where += f"{'&' if '?' in where else '?'}digest={body.digest}"
    made = connection.send("PUT", where, body, chunked=False) if way == "put" else connection.request("PUT", where)
    assert made.status == 201, made


def push_small(connection: Connection, repository: str, data: bytes) -> str:
    """Push a small blob in two requests; its digest."""
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    where = _path(connection.request("POST", f"/v2/{repository}/blobs/uploads/"))
    made = connection.request("PUT", f"{where}{'&' if '?' in where else '?'}digest={digest}", data)
    assert made.status == 201, made
    return digest


def _path(answer: Answer) -> str:
    location = answer.headers["location"]
    return location if location.startswith("/") else "/" + location.split("/", 3)[3]


def together(count: int, work: Callable[[int], object]) -> float:
    """Seconds until `work(0)` … `work(count - 1)`, each in a thread, are all done."""
    with ThreadPoolExecutor(count) as pool:
        begun = time.monotonic()
        for future in [pool.submit(work, number) for number in range(count)]:
            future.result()
        return time.monotonic() - begun


def repeat(port: int, authorization: str, method: str, path: str, clients: int, seconds: float) -> tuple[int, float]:
    """The same small request over and over on so many connections; the number of answers and the seconds it took."""
    with Connection(port, authorization) as first:
        wanted = first.request(method, path, headers=_ACCEPT)
        assert wanted.status == 200, wanted
        request = first.head(method, path, _ACCEPT)
    poll = select.epoll()
    connections = {}
    for _ in range(clients):
        connection = socket.create_connection(("127.0.0.1", port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connections[connection.fileno()] = connection
        poll.register(connection, select.EPOLLIN)
    pending = dict.fromkeys(connections, b"")
    answers = 0
    begun = time.monotonic()
    for connection in connections.values():
        connection.send(request)
    while (spent := time.monotonic() - begun) < seconds:
        for descriptor, _ in poll.poll(1):
            data = pending[descriptor] + connections[descriptor].recv(65536)
            end = data.find(b"\r\n\r\n")
            if end < 0 or len(data) < end + 4 + len(wanted.body):
                pending[descriptor] = data
                continue
            assert data.startswith(b"HTTP/1.1 200"), data[:200]
            pending[descriptor] = b""
            connections[descriptor].send(request)
            answers += 1
    poll.close()
    for connection in connections.values():
        connection.close()
    return answers, spent
