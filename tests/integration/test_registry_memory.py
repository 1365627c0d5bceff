"""A registry's memory under load, seen from outside: it follows neither the size nor the number of what is pushed."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import os
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

import pytest

from parts.lumper_process import LumperServer
from parts.waiting import wait_for

MIB = 1 << 20
MOST = 100_000  # kB, whatever is pushed
HASH = 9_000  # kB that one takes while it is made
START = 4000  # kB at least of what only the start has used
PIECE = os.urandom(MIB)


class Pushing:
    """A `lumper registry` and its clients."""

    def __init__(self, server: LumperServer) -> None:
        self._port = server.port
        self._pid = json.loads((server.data / "server.json").read_text())["pid"]
        token = (server.data / "tokens" / "operator").read_text().strip()
        self._fields = {"Authorization": "Basic " + base64.b64encode(f"operator:{token}".encode()).decode()}

    def connected(self) -> closing[http.client.HTTPConnection]:
        return closing(http.client.HTTPConnection("127.0.0.1", self._port, timeout=60))

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

    def put(self) -> None:
        """Push a blob of 1 MiB at once."""
        body = os.urandom(32) + PIECE[32:]
        with self.connected() as connection:
            where = self.begin(connection)
            self.send(connection, "PUT", f"{where}?digest=sha256:{hashlib.sha256(body).hexdigest()}", len(body))
            connection.send(body)
            assert connection.getresponse().status == 201

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


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pushing]:
    data = tmp_path_factory.mktemp("memory") / "data"
    with LumperServer(data, role="registry"):
        pass  # making the tables and keys takes memory, only that once
    with LumperServer(data, role="registry", fresh=True) as server:
        made = Pushing(server)
        wait_for(lambda: made.memory("VmRSS") < made.memory("VmHWM") - START, "what the start has used given back")
        yield made


@pytest.fixture
def pushing(started: Pushing) -> Pushing:
    started.forget()
    return started


def together(clients: int, work: Callable[[], None]) -> None:
    """Do the work with so many clients at the same time."""
    with ThreadPoolExecutor(clients) as threads:
        for done in [threads.submit(work) for _ in range(clients)]:
            done.result()


def test_what_the_hash_of_a_password_takes_is_given_back_after_each(pushing: Pushing) -> None:
    pushing.sign_in("a wrong password")  # the first one loads code
    before = pushing.memory("VmRSS")
    for _ in range(3):
        pushing.sign_in("a wrong password")
    assert pushing.memory("VmHWM") < MOST
    assert pushing.memory("VmRSS") < before + HASH // 2


@pytest.mark.parametrize(
    ("clients", "pieces", "chunked"), [(1, 96, False), (4, 24, False), (1, 48, True), (12, 8, True)]
)
def test_large_blobs_take_no_more_memory_than_small_ones(
    pushing: Pushing, clients: int, pieces: int, chunked: bool
) -> None:
    together(clients, partial(pushing.patch, pieces, chunked=chunked))
    assert pushing.memory("VmHWM") < MOST


def test_forty_blobs_at_the_same_time_take_no_more_memory_than_one(pushing: Pushing) -> None:
    together(40, pushing.put)
    assert pushing.memory("VmHWM") < MOST


def test_uploads_that_stop_hold_no_bytes_in_memory(pushing: Pushing) -> None:
    with ExitStack() as stack:
        for _ in range(100):
            connection = stack.enter_context(pushing.connected())
            pushing.send(connection, "PATCH", pushing.begin(connection), None)
            connection.send(b"%x\r\n%s\r\n" % (len(PIECE) - 1, PIECE[1:]))
        assert pushing.memory("VmHWM") < MOST
