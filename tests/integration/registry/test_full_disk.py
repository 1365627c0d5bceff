"""A registry on a disk that becomes full: pushes end, everything else goes on, and deleting makes room again."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from parts.disks.small_disk import filled, small_disk
from parts.processes.command_line import lumper
from parts.processes.lumper_process import LumperProcess, LumperServer
from parts.registries.live_registry import digest_of, image_manifest
from parts.suite.waiting import wait_for

pytestmark = pytest.mark.system

MIB = 1 << 20
SETTINGS = {
    "registry.keep_free": "8",
    "registry.gc_grace": "1",
    "registry.gc_interval": "0",
    "registry.undo_days": "0",
    "registry.untagged": "delete",
}


class Client:
    """The distribution API over plain connections, with the operator's token."""

    def __init__(self, server: LumperServer) -> None:
        self._url = server.url
        self._token = (server.data / "tokens" / "operator").read_text().strip()

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
        """Status and body of an answer."""
        request = urllib.request.Request(self._url + path, body, headers, method=method)
        request.add_header("Authorization", f"Bearer {self._token}")
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as exc:
            with exc:
                return exc.code, exc.read()

    def push(self, tag: str, layer: bytes) -> int:
        """Push an image of this layer; the status of the first request that was refused, else 201."""
        links = [(digest_of(data), len(data)) for data in (b"{}", layer)]
        manifest = image_manifest(*links)
        kind = {"Content-type": str(manifest["mediaType"])}
        requests = [
            *(("POST", f"/v2/a/blobs/uploads/?digest={digest_of(data)}", data, {}) for data in (b"{}", layer)),
            ("PUT", f"/v2/a/manifests/{tag}", json.dumps(manifest).encode(), kind),
        ]
        for method, path, body, headers in requests:
            if (status := self.ask(method, path, body, **headers)[0]) != 201:
                return status
        return 201


def free(disk: Path) -> int:
    """Bytes that are left on it."""
    found = os.statvfs(disk)
    return found.f_bavail * found.f_frsize


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 40 MiB."""
    with small_disk(tmp_path / "small", "40m") as place:
        yield place


def test_a_disk_that_pushes_have_filled_is_made_free_again_by_deleting(disk: Path) -> None:
    with LumperServer(disk / "data", SETTINGS, role="registry") as server:
        client = Client(server)
        statuses = [client.push(f"v{n}", os.urandom(8 * MIB)) for n in range(5)]
        assert (statuses[0], statuses[-1]) == (201, 507)
        with filled(disk):  # to the last byte: not even a manifest that is on its way has a file
            large = b" " * MIB + b"{}"
            status, told = client.ask("PUT", "/v2/a/manifests/large", large)
            assert (status, b"no file for a large manifest" in told) == (507, True)
        for n in range(statuses.index(507)):
            assert client.ask("DELETE", f"/v2/a/manifests/v{n}")[0] == 202

        def collected() -> bool:
            assert lumper("registry", "gc", "--data", server.data).status == 0
            return client.push("again", os.urandom(8 * MIB)) == 201

        wait_for(collected, "room for a push")


def test_a_server_that_starts_on_a_full_disk_serves_what_is_there(disk: Path) -> None:
    with LumperServer(disk / "data", SETTINGS, role="registry") as server:
        client = Client(server)
        layer = os.urandom(MIB)
        assert client.push("1", layer) == 201
        server.kill()
        subprocess.run(["dd", "if=/dev/zero", f"of={disk}/ballast", "bs=4k"], capture_output=True, check=False)
        LumperProcess.start(server)  # it cannot say where it is

        def served() -> bool:
            try:
                return client.ask("GET", f"/v2/a/blobs/{digest_of(layer)}") == (200, layer)
            except OSError:
                return False

        wait_for(served, "the layer")
        server.wait_until_said("could not be announced")
        assert client.push("2", os.urandom(100)) == 507
        assert client.ask("GET", "/v2/a/tags/list")[0] == 200


def test_a_large_manifest_whose_last_bytes_have_no_room_is_refused_like_any_other(disk: Path) -> None:
    begin, end = b" " * (68 << 10), b"{}"
    with LumperServer(disk / "data", SETTINGS, role="registry") as server:
        token, before = (server.data / "tokens" / "operator").read_text().strip(), free(disk)
        head = f"PUT /v2/a/manifests/large HTTP/1.1\r\nHost: {server.address}\r\nAuthorization: Bearer {token}\r\n"
        head += f"Content-Length: {len(begin + end)}\r\n\r\n"
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
            connection.sendall(head.encode() + begin)
            wait_for(lambda: before - free(disk) >= 64 << 10, "its file")
            with filled(disk):
                connection.sendall(end)
                assert b" 507 " in connection.makefile("rb").readline()
    assert "Traceback" not in server.said


def test_a_server_that_was_ended_and_finds_no_room_to_open_its_database_says_so(disk: Path) -> None:
    with LumperServer(disk / "data", SETTINGS, role="registry") as server:
        server.end()
        with filled(disk):
            refused = lumper("registry", "--data", server.data, "--listen", server.address)
        assert (refused.status, "There is no space left" in refused.err, "Free some space" in refused.err) == (
            1, True, True,
        )  # fmt: skip
        server.start()


def test_a_disk_that_goes_away_takes_no_images_with_it(tmp_path: Path) -> None:
    disk = tmp_path / "data" / "registry"
    server = LumperServer(tmp_path / "data", {**SETTINGS, "registry.keep_free": "0"}, role="registry")
    layer = os.urandom(MIB)
    image = f"/v2/a/blobs/{digest_of(layer)}"
    with small_disk(disk, "40m"), server:
        client = Client(server)
        assert client.push("one", layer) == 201
        assert client.push("two", os.urandom(100)) == 201
        elsewhere = tmp_path / "disk"
        elsewhere.mkdir()
        subprocess.run(["mount", "--bind", str(disk), str(elsewhere)], check=True)
        try:
            subprocess.run(["umount", "--lazy", str(disk)], check=True)
            assert client.ask("GET", image)[0] == 503
            assert client.ask("HEAD", f"/v2/a/blobs/{digest_of(b'unknown')}")[0] == 404  # no repository has it
            assert client.push("three", os.urandom(100)) == 503
            assert client.ask("DELETE", "/v2/a/manifests/two")[0] == 202
            for care in ("gc", "verify"):
                assert "Is its disk mounted" in lumper("registry", care, "--data", server.data).err
            assert list(disk.iterdir()) == []
        finally:
            subprocess.run(["mount", "--bind", str(elsewhere), str(disk)], check=True)
            subprocess.run(["umount", str(elsewhere)], check=True)

        assert client.ask("GET", image) == (200, layer)
        wait_for(lambda: not (disk / "names/a/_tags/two").exists(), "the end of the tag's name", 60)
        assert (disk / "names/a/_tags/one").exists()
        assert client.push("three", os.urandom(100)) == 201
    assert "Traceback" not in server.said
