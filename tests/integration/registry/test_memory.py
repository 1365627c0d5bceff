"""A registry's memory under load, seen from outside: it follows neither the size nor the number of what is pushed."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import os
import re
import shutil
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path

import pytest

from parts.processes.lumper_process import LumperServer
from parts.s3.s3_service import s3_service
from parts.servers.certificates import Authority
from parts.servers.ports import free_ports

MIB = 1 << 20
MOST = 140_000  # kB, whatever is pushed
HASH = 9_000  # kB that one takes while it is made
CLIENTS = 100  # that stop
MANY = 400  # that stop at the same time
SMALL = 64 << 10  # bytes of a blob that is taken whole
PIECE = os.urandom(MIB)


class Pushing:
    """A `lumper registry` and its clients; with `tls` they reach it at another port of loopback, too."""

    def __init__(self, server: LumperServer, tls: tuple[int, ssl.SSLContext] | None = None) -> None:
        self._port = server.port
        self._tls = tls
        self.data = server.data
        self._pid = json.loads((self.data / "server.json").read_text())["pid"]
        token = (self.data / "tokens" / "operator").read_text().strip()
        self._fields = {"Authorization": "Basic " + base64.b64encode(f"operator:{token}".encode()).decode()}

    def connected(self) -> closing[http.client.HTTPConnection]:
        return closing(http.client.HTTPConnection("127.0.0.1", self._port, timeout=60))

    def connected_with_little_room(self) -> closing[http.client.HTTPConnection]:
        made = http.client.HTTPConnection("localhost", self._port)
        made.sock = _with_little_room(self._port)
        return closing(made)

    def connected_by_tls(self) -> closing[http.client.HTTPConnection]:
        assert self._tls is not None
        port, context = self._tls
        made = http.client.HTTPConnection("localhost", port)
        made.sock = context.wrap_socket(_with_little_room(port), server_hostname="localhost")
        return closing(made)

    def begin(self, connection: http.client.HTTPConnection) -> str:
        connection.request("POST", "/v2/a/b/blobs/uploads/", headers=self._fields)
        with connection.getresponse() as answer:
            answer.read()
            assert answer.status == 202
            return str(answer.headers["Location"])

    def send(self, connection: http.client.HTTPConnection, method: str, where: str, length: int | None) -> None:
        """The head of a request, whose body comes in chunks if its length is not told."""
        connection.putrequest(method, where)
        kind = ("Transfer-Encoding", "chunked") if length is None else ("Content-Length", str(length))
        for name, value in (*self._fields.items(), kind):
            connection.putheader(name, value)
        connection.endheaders()

    def patch(self, pieces: int, *, chunked: bool) -> None:
        """Push so many MiB in one request."""
        with self.connected() as connection:
            where = self.begin(connection)
            self.send(connection, "PATCH", where, None if chunked else pieces * MIB)
            for _ in range(pieces):
                connection.send(b"%x\r\n%s\r\n" % (MIB, PIECE) if chunked else PIECE)
            if chunked:
                connection.send(b"0\r\n\r\n")
            assert connection.getresponse().status == 202

    def put(self, pieces: int) -> str:
        """Push a blob of so many MiB at once; its digest."""
        body = os.urandom(32) + (PIECE * pieces)[32:]
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        with self.connected() as connection:
            where = self.begin(connection)
            self.send(connection, "PUT", f"{where}?digest={digest}", len(body))
            connection.send(body)
            assert connection.getresponse().status == 201
        return digest

    def stop_reading(self, connection: http.client.HTTPConnection, digest: str) -> http.client.HTTPResponse:
        """Ask for a blob, and read no byte of it."""
        connection.request("GET", f"/v2/a/b/blobs/{digest}", headers=self._fields)
        answer = connection.getresponse()
        assert answer.status == 200
        return answer

    def stop_sending(self, connection: http.client.HTTPConnection) -> None:
        """Push 1 MiB without its last byte."""
        self.send(connection, "PATCH", self.begin(connection), None)
        connection.send(b"%x\r\n%s\r\n" % (len(PIECE) - 1, PIECE[1:]))

    def stop_sending_a_manifest(self, connection: http.client.HTTPConnection) -> None:
        """Push a manifest of 1 MiB without its last byte."""
        self.send(connection, "PUT", "/v2/a/b/manifests/x", MIB)
        connection.send(PIECE[1:])

    def stop_sending_a_small_blob(self, connection: http.client.HTTPConnection) -> None:
        """Push a blob of 64 KiB without its last byte."""
        self.send(connection, "PUT", f"{self.begin(connection)}?digest=sha256:{'0' * 64}", SMALL)
        connection.send(PIECE[1:SMALL])

    def sign_in(self, password: str) -> None:
        """Ask for a token by a password, in vain; it is hashed, though there is no such user."""
        basic = base64.b64encode(f"ada:{password}".encode()).decode()
        with self.connected() as connection:
            connection.request("GET", "/v2/token?service=lumper", headers={"Authorization": f"Basic {basic}"})
            assert connection.getresponse().status == 401

    def memory(self, what: str) -> int:
        """VmRSS, or VmHWM since the last `forget`, in kB."""
        found = re.search(rf"{what}:\s+(\d+) kB", Path(f"/proc/{self._pid}/status").read_text())
        assert found is not None
        return int(found[1])

    def forget(self) -> None:
        """Let the most memory be counted anew. Source: proc(5), "/proc/pid/clear_refs"."""
        Path(f"/proc/{self._pid}/clear_refs").write_text("5")


def _with_little_room(port: int) -> socket.socket:
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # or the kernel takes megabytes for each
    connection.connect(("127.0.0.1", port))
    connection.settimeout(60)
    return connection


@contextmanager
def registry(
    data: Path, settings: dict[str, str], tls: tuple[int, ssl.SSLContext] | None = None, keys: Path | None = None
) -> Iterator[Pushing]:
    """A registry that only ran its start. Its `keys` are another's, or made by a start before."""
    behind = tls is not None
    if keys is None:
        with LumperServer(data, settings, role="registry", behind_tls=behind):
            pass  # making them loads what nothing needs afterwards
    else:
        shutil.copytree(keys, data / "keys")
    with LumperServer(data, settings, role="registry", behind_tls=behind, fresh=True) as server:
        yield Pushing(server, tls)


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pushing]:
    folder = tmp_path_factory.mktemp("memory")
    authority = Authority(folder / "ca")
    pair, (port,) = authority.certificate("localhost"), free_ports(1)
    settings = {
        "server.tls_certificate": str(pair.certificate),
        "server.tls_key": str(pair.key),
        "server.listen": f"127.0.0.1:{port}",
    }
    with registry(folder / "data", settings, (port, ssl.create_default_context(cafile=authority.file))) as running:
        yield running


@pytest.fixture
def pushing(started: Pushing) -> Pushing:
    started.forget()
    return started


def together(clients: int, work: Callable[[], object]) -> None:
    """Do the work with so many clients at the same time."""
    with ThreadPoolExecutor(clients) as threads:
        for done in [threads.submit(work) for _ in range(clients)]:
            done.result()


def each(connections: Sequence[http.client.HTTPConnection], work: Callable[[http.client.HTTPConnection], None]) -> None:
    """Do the work on all connections at the same time."""
    with ThreadPoolExecutor(len(connections)) as threads:
        for done in [threads.submit(work, connection) for connection in connections]:
            done.result()


def test_hashes_of_passwords_do_not_add_up_in_memory(pushing: Pushing) -> None:
    pushing.sign_in("a wrong password")  # the first one loads code
    before = pushing.memory("VmRSS")
    for _ in range(4):
        pushing.sign_in("a wrong password")
    assert pushing.memory("VmHWM") < MOST
    assert pushing.memory("VmRSS") < before + 2 * HASH  # a thread may keep what one takes


@pytest.mark.parametrize(
    ("clients", "pieces", "chunked"), [(1, 96, False), (4, 24, False), (1, 48, True), (12, 8, True)]
)
def test_large_blobs_take_no_more_memory_than_small_ones(
    pushing: Pushing, clients: int, pieces: int, chunked: bool
) -> None:
    together(clients, partial(pushing.patch, pieces, chunked=chunked))
    assert pushing.memory("VmHWM") < MOST


def test_forty_blobs_at_the_same_time_take_no_more_memory_than_one(pushing: Pushing) -> None:
    together(40, lambda: pushing.put(1))
    assert pushing.memory("VmHWM") < MOST


def test_uploads_that_stop_hold_no_bytes_in_memory(pushing: Pushing) -> None:
    with ExitStack() as stack:
        for number in range(CLIENTS):
            pushing.stop_sending(stack.enter_context(pushing.connected_by_tls() if number % 2 else pushing.connected()))
        assert pushing.memory("VmHWM") < MOST


def test_who_reads_no_more_holds_little_memory_with_tls_too(pushing: Pushing) -> None:
    digest = pushing.put(4)
    with ExitStack() as stack:
        for _ in range(CLIENTS):
            connection = stack.enter_context(pushing.connected_by_tls())
            stack.enter_context(pushing.stop_reading(connection, digest))
        assert pushing.memory("VmHWM") < MOST


def test_manifests_that_stop_hold_no_bytes_in_memory(pushing: Pushing) -> None:
    with ExitStack() as stack:
        connections = [stack.enter_context(pushing.connected()) for _ in range(MANY)]
        each(connections, pushing.stop_sending_a_manifest)
        with pushing.connected() as connection:  # a large one that comes meanwhile is read nevertheless
            body = b" " * MIB + b"{}"
            pushing.send(connection, "PUT", "/v2/a/b/manifests/y", len(body))
            connection.send(body)
            assert connection.getresponse().status == 400
        assert pushing.memory("VmHWM") < MOST


def test_small_blobs_that_stop_hold_few_bytes_in_memory(pushing: Pushing) -> None:
    with ExitStack() as stack:
        connections = [stack.enter_context(pushing.connected()) for _ in range(MANY)]
        each(connections, pushing.stop_sending_a_small_blob)
        assert pushing.put(1)  # others push meanwhile
        assert pushing.memory("VmHWM") < MOST


def test_large_blobs_take_no_more_memory_on_their_way_to_a_bucket_and_from_it(started: Pushing, tmp_path: Path) -> None:
    with s3_service() as service:
        bucket = service.bucket()
        settings = {
            "registry.storage": f"s3://{bucket.name}/images",
            "registry.endpoint": bucket.endpoint,
            "registry.access_key_id": bucket.access_key_id,
            "registry.secret_access_key": bucket.secret_access_key,
            "registry.redirect": "false",
        }
        with registry(tmp_path / "data", settings, keys=started.data / "keys") as pushing:
            pushing.forget()
            together(4, partial(pushing.patch, 9, chunked=True))
            assert pushing.memory("VmHWM") < MOST
            digest = pushing.put(6)
            with ExitStack() as stack:
                for _ in range(CLIENTS // 4):
                    connection = stack.enter_context(pushing.connected_with_little_room())
                    stack.enter_context(pushing.stop_reading(connection, digest))
                assert pushing.memory("VmHWM") < MOST
