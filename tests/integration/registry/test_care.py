"""`lumper registry gc` and `verify` on a real command line, and the collection that the server does by itself."""

from __future__ import annotations

import hashlib
import urllib.request
from pathlib import Path

from parts.processes.command_line import lumper
from parts.processes.lumper_process import NO_ENGINE, LumperServer
from parts.suite.waiting import wait_for

OPEN = {**NO_ENGINE, "registry.anonymous": "push", "registry.gc_grace": "0.1"}


def push(server: LumperServer, data: bytes) -> Path:
    """Push a blob that no manifest refers to; the file that has it."""
    encoded = hashlib.sha256(data).hexdigest()
    url = f"{server.client.url}/v2/owner/app/blobs/uploads/?digest=sha256:{encoded}"
    with urllib.request.urlopen(urllib.request.Request(url, data=data, method="POST")) as answer:
        assert answer.status == 201
    return server.data / "registry/blobs/sha256" / encoded[:2] / encoded


def test_garbage_is_told_and_then_given_up_by_hand(tmp_path: Path) -> None:
    with LumperServer(tmp_path / "data", {**OPEN, "registry.gc_interval": "0"}) as server:
        file = push(server, b"x" * 2048)
        here = ("--data", server.data)
        told = wait_for(lambda: lumper("registry", "gc", "--dry-run", "--json", *here).json["garbage"], "garbage")
        assert [(one["kind"], one["repository"], one["name"][-64:]) for one in told] == [
            ("link", "owner/app", file.name)
        ]
        assert "no manifest" in told[0]["why"]
        assert file.exists()

        shown = lumper("registry", "gc", *here)
        assert shown.status == 0
        assert f"sha256:{file.name}" in shown.out
        wait_for(lambda: lumper("registry", "gc", "--json", *here).json["freed"] == 2048, "the end of the bytes")
        assert not file.exists()
        assert lumper("registry", "gc", *here).out.startswith("Nothing can be given up.\nWhat was deleted ")
    assert lumper("registry", "gc", "--json", *here).json["garbage"] == []


def test_the_server_collects_by_itself(tmp_path: Path) -> None:
    with LumperServer(tmp_path / "data", {**OPEN, "registry.gc_interval": "0.2"}) as server:
        file = push(server, b"x")
        wait_for(lambda: not file.exists(), "the end of the bytes")
        server.wait_until_said("garbage was collected")


def test_verification_tells_what_is_wrong_by_its_status(tmp_path: Path) -> None:
    with LumperServer(tmp_path / "data", {**OPEN, "registry.gc_interval": "0"}) as server:
        here = ("--data", server.data)
        file = push(server, b"x" * 2048)
        push(server, b"y" * 2048)
        well = lumper("registry", "verify", "--json", *here).json
        assert well == {"flaws": [], "blobs": 2, "bytes": 4096, "repositories": 1}
        assert lumper("registry", "verify", *here).out.startswith("Nothing is wrong.\n")

        file.write_bytes(b"z" * 2048)
        wrong = lumper("registry", "verify", *here)
        assert (wrong.status, wrong.err) == (1, "")
        assert "corrupt" in wrong.out
        assert file.name in wrong.out
