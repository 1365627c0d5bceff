"""How many lines of a build's log go from the engine to the store in a second, and what each part of the way takes.

    .venv/bin/python bench/log.py [--lines 300000] [--rounds 3] [--engine own|newer]

The messages are those that BuildKit sends of a program that prints much: 32 KiB of output each. They go the whole way
of a worker and a server that are one process, as `lumper up` is: BuildKit's messages to records, secrets masked,
records to lines in the spool, chunks through the queue's file, each synced to the disk, and from there into the log's
file. What is stored is compared with what was printed. Before it, each part of the way alone, by the processor's clock.

With `--engine`, this machine's dockerd (`own`), or the one that `scripts/setup --test` unpacks (`newer`), starts, and
builds Dockerfiles whose steps print as fast as they can: every line is counted in the store. As root.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from google.protobuf.timestamp_pb2 import Timestamp

import log_engine
from lumper.build.engines.buildkit.progress import ProgressReader
from lumper.build.engines.buildkit.proto.control_pb2 import StatusResponse, Vertex, VertexLog
from lumper.line.history import History, open_history
from lumper.model.builds.build import Output, Progress
from lumper.model.builds.log import from_line, to_line
from lumper.model.builds.masking import Masker
from lumper.model.events import EVENTS, AttemptStarted
from lumper.model.links import Links
from lumper.model.source import Push, parse_git_url
from lumper.queue.brokers.sqlite import SqliteBroker
from lumper.queue.codec import encode
from lumper.queue.retry import RetryPolicy
from lumper.roles.acceptance import Acceptance
from lumper.roles.base import consume
from lumper.roles.shipper import LogShipper

Tell = Callable[[Callable[[Progress], None]], Awaitable[None]]
"""What prints: it is given what takes each record."""

_MESSAGE = 32 * 1024  # bytes: what BuildKit reads of a step's output at once
_SECRETS = 10


def printed(count: int) -> Iterator[str]:
    """Lines as compilers print them; of each twenty one is coloured."""
    for n in range(count):
        name = f"src/module_{n % 977}/part_{n}.c"
        yield f"\x1b[33mwarning:\x1b[0m {name}: unused" if n % 20 == 0 else f"[{n}] cc -O2 -c {name} -o build/{n}.o"


def messages(count: int) -> list[StatusResponse]:
    """What the engine tells of a step that prints so many lines."""
    at = Timestamp(seconds=1732440000, nanos=123456789)
    told = [StatusResponse(vertexes=[Vertex(digest="d", name="RUN make", started=at)])]
    data = "".join(f"{line}\n" for line in printed(count)).encode()
    told += [
        StatusResponse(logs=[VertexLog(vertex="d", timestamp=at, stream=1, msg=data[i : i + _MESSAGE])])
        for i in range(0, len(data), _MESSAGE)
    ]
    told.append(StatusResponse(vertexes=[Vertex(digest="d", name="RUN make", started=at, completed=at)]))
    return told


def masker() -> Masker:
    """Of as many secrets as a build may have."""
    return Masker(base64.b85encode(bytes([n, *os.urandom(24)])).decode() for n in range(_SECRETS))


class Took(NamedTuple):
    """Seconds by the clock, and of the processor."""

    clock: float
    work: float


class Way:
    """A queue and a history in a folder, and one build that has begun."""

    def __init__(self, folder: Path) -> None:
        self.broker = SqliteBroker(folder / "queue.db")
        links = Links("http://lumper.example.org", "lumper.example.org", "lumper.example.org")
        self.history: History = open_history(f"sqlite:///{folder}/lumper.db", folder / "logs", links, encode)
        self.spool = folder / "spool"
        self.spool.mkdir()

    async def begin(self) -> int:
        """A build's number."""
        await self.history.database.migrate()
        project = await self.history.projects.add(parse_git_url("https://git.example.org/acme/shop.git"))
        async with self.history.database.write() as connection:
            push = Push(project.repository, "refs/tags/v1", "a" * 40)
            build, _ = await self.history.builds.queue(connection, project, push)
        assert await self.history.builds.take(AttemptStarted(build, 1, "claim", "w", "b", datetime.now(UTC)))
        return build

    async def carry(self, build: int, tell: Tell) -> Took:
        """From the first message to the last line in the store."""
        begun, worked = time.monotonic(), time.process_time()
        async with LogShipper(self.broker, self.spool, build, 1, "claim", masker()) as shipper:
            await tell(shipper.report)
        while await self.history.logs.size(build, 1) < shipper.size:
            logs = self.history.logs
            await logs.wait(build, 1, await logs.size(build, 1), 1.0, logs.wakes)
        return Took(time.monotonic() - begun, time.process_time() - worked)


async def whole_way(tell: Tell) -> tuple[Took, list[Output]]:
    """How long it takes, and what is stored."""
    with tempfile.TemporaryDirectory(prefix="lumper-bench-") as name:
        way = Way(Path(name))
        build = await way.begin()
        policy = RetryPolicy(attempts=3, first=0.1)
        server = asyncio.create_task(consume(way.broker, EVENTS, Acceptance(way.history).handle, policy))
        try:
            took = await way.carry(build, tell)
            data = b"".join([chunk async for chunk in way.history.logs.read(build, 1)])
        finally:
            server.cancel()
            await asyncio.wait([server])
            await way.broker.close()
            await way.history.database.close()
        return took, [record for record in map(from_line, data.splitlines()) if isinstance(record, Output)]


def by_hand(told: list[StatusResponse]) -> Tell:
    """Hands messages over as an engine's connection does."""

    async def tell(report: Callable[[Progress], None]) -> None:
        reader = ProgressReader(report)
        for message in told:
            reader.receive(message)
            await asyncio.sleep(0)
        reader.finish()

    return tell


def measured(count: int, told: list[StatusResponse]) -> Took:
    """How long the whole way takes; what is stored must be what was printed."""
    took, stored = asyncio.run(whole_way(by_hand(told)))
    assert [record.text for record in stored] == list(printed(count)), "lines were lost, or changed"
    return took


def parts(told: list[StatusResponse]) -> dict[str, Callable[[], object]]:
    """Each part of the way that is work of the processor alone."""
    records: list[Progress] = []
    reader = ProgressReader(records.append)
    for message in told:
        reader.receive(message)
    reader.finish()

    def read() -> None:
        taken = ProgressReader(lambda _: None)
        for message in told:
            taken.receive(message)

    def mask() -> None:
        hiding = masker()
        for record in records:
            hiding.feed([record])

    return {"messages to records": read, "masking": mask, "records to lines": lambda: "".join(map(to_line, records))}


def main() -> None:
    """Run it."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--lines", type=int, default=300_000)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--engine", choices=("own", "newer"))
    given = arguments.parse_args()
    if given.engine:
        asyncio.run(log_engine.measure(given.engine, given.lines, given.rounds, whole_way))
        return
    count, told = given.lines, messages(given.lines)
    for name, part in parts(told).items():
        tell(name, [count / _seconds(part) for _ in range(given.rounds)])
    took = [measured(count, told) for _ in range(given.rounds)]
    tell("the whole way", [count / one.clock for one in took])
    tell("  of the processor", [count / one.work for one in took])


def _seconds(part: Callable[[], object]) -> float:
    begun = time.process_time()
    part()
    return time.process_time() - begun


def tell(name: str, rates: list[float]) -> None:
    """The median, the least and the most."""
    print(f"{name:20}  {statistics.median(rates):12,.0f} lines/s  ({min(rates):,.0f}-{max(rates):,.0f})")


if __name__ == "__main__":
    main()
