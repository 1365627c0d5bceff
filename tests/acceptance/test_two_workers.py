"""Two workers at one engine, each a process of its own over RabbitMQ: one verifies what the other has built."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from parts.engines.context import BASE
from parts.engines.gate import Gate
from parts.git.forge import Forge
from parts.line.line import Line, line_of
from parts.processes.command_line import lumper as run
from parts.processes.lumper_process import LumperProcess, LumperServer
from parts.servers.rabbitmq import RabbitNode
from parts.suite.waiting import wait_for

pytestmark = pytest.mark.docker

CHANGING = f"{BASE}COPY hello /hello\nRUN /bin/sh -c 'head -c 8 /dev/urandom > /made; echo the same > /same'\n"


@dataclass
class Shop:
    """A server and its two workers, by their names."""

    server: LumperServer
    workers: dict[str, LumperProcess]


@pytest.fixture
def shop(rabbitmq: RabbitNode, tmp_path: Path) -> Iterator[Shop]:
    queue = {"queue.url": asyncio.run(rabbitmq.fresh_url())}
    with ExitStack() as stack:
        server = stack.enter_context(LumperServer(tmp_path / "server", queue, role="server"))
        there = {"connect.server": server.url, "connect.token_file": str(server.data / "tokens" / "worker")}
        workers = {}
        for name in (f"one-{server.port}", f"two-{server.port}"):
            settings = {**queue, **there, "worker.name": name, "worker.concurrency": "1"}
            workers[name] = stack.enter_context(LumperProcess("worker", tmp_path / name, settings))
        yield Shop(server, workers)


@pytest.fixture
def line(shop: Shop, forge: Forge) -> Iterator[Line]:
    with line_of(shop.server, forge) as made:
        yield made


def verified(line: Line, build_id: int) -> dict[str, Any]:
    """What `lumper build verify` prints."""
    done = run("build", "verify", build_id, "--json", "--data", line.lumper.data, seconds=120)
    found: dict[str, Any] = json.loads(done.out)
    return found


def test_a_build_is_verified_by_the_other_worker(line: Line, shop: Shop) -> None:
    first = line.project.release("v1.0.0", {"Dockerfile": CHANGING, "hello": "world"})
    builder = line.succeeded(first)["worker"]
    shop.workers[builder].end()

    found = verified(line, first)

    second = line.succeeded(found["by"])
    assert {builder, second["worker"]} == set(shop.workers)
    assert found["state"] == "differs"
    last = [one for one in found["differences"] if one["part"] == "layer 3"]
    assert {"path": "made", "what": ["content", "time"]} in last[0]["files"], found
    assert "layer 2" not in found["summary"]
    wait_for(lambda: not line.names_in_engine(), "removal of the names that the workers gave")


def test_a_worker_that_is_killed_while_it_verifies_is_stood_in_for_by_the_other(line: Line, shop: Shop) -> None:
    gate = Gate()
    first = line.project.release("v1.1.0", {"Dockerfile": gate.dockerfile, "index.html": "world"})
    gate.let_through()
    line.succeeded(first)
    begun = line.lumper.client.post(f"builds/{first}/verify")
    wait_for(lambda: gate.somebody_waits, "the second build at the gate")
    killed, before = line.build(begun["by"])["worker"], gate.waiting()
    shop.workers[killed].kill()
    gate.let_through(but=before)  # its program may have some moments left

    second = line.succeeded(begun["by"], seconds=90)

    assert (second["attempt"], {killed, second["worker"]}) == (2, set(shop.workers))
    found = verified(line, first)  # already under way: waits for what comes of it
    assert found["by"] == begun["by"]
    assert found["state"] in ("differs", "reproducible")
