"""The part of `bench/log.py` with a real Docker Engine, which is started here with settings and folders of its own."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from lumper.build.engines.buildkit import BuildKitEngine
from lumper.build.port import BuildRequest
from lumper.model.builds.build import Output
from parts.engines.context import BASE, context_tar, stream
from parts.engines.newer_engine import newer_engine
from parts.engines.second_engine import second_engine

_BASE = f"{BASE}COPY busybox /bin/busybox\n"
_LONG = "x" * 2000
_COLOURED = "busybox sed 's|^|\x1b[33mwarning:\x1b[0m src/module_|'"

Report = Callable[[Any], None]
WholeWay = Callable[[Callable[[Report], Awaitable[None]]], Awaitable[tuple[Any, list[Output]]]]


def dockerfiles(lines: int, round_: int) -> dict[str, tuple[str, Counter[str]]]:
    """Patterns by name: a Dockerfile, and how often each line of it must be in the log."""
    few, numbered = lines // 20, f"| busybox sed 's|^|r{round_} |'"
    seq = f"busybox seq {lines} {numbered}"

    def expected(text: str, count: int) -> Counter[str]:
        return Counter(text.format(f"r{round_} {n}") for n in range(1, count + 1))

    short, long, colour = expected("{}", lines), expected("{}" + _LONG, few), "\x1b[33mwarning:\x1b[0m src/module_{}"
    return {
        "short lines": (f"{_BASE}RUN {seq}\n", short),
        "lines of 2 kB": (f"{_BASE}RUN busybox seq {few} {numbered} | busybox sed 's|$|{_LONG}|'\n", long),
        "coloured": (f"{_BASE}RUN {seq} | {_COLOURED}\n", expected(colour, lines)),
        "two steps at once": (
            f"{_BASE.replace('scratch', 'scratch AS base')}FROM base AS one\nRUN {seq} && echo 1 > /one\n"
            f"FROM base AS two\nRUN {seq} && echo 2 > /two\n"
            "FROM scratch\nCOPY --from=one /one /\nCOPY --from=two /two /\n",
            short + short,
        ),
    }


async def measure(kind: str, lines: int, rounds: int, whole_way: WholeWay) -> None:
    """Print for each pattern and round how many lines came, of how many, and how many in a second."""
    async with _engine(kind) as address:
        engine = BuildKitEngine(address)
        try:
            print((await engine.info()).version)
            for number in range(rounds):
                for name, (dockerfile, wanted) in dockerfiles(lines, number).items():
                    build = partial(_build, engine, dockerfile)
                    took, stored = await whole_way(build)
                    found = Counter(record.text for record in stored if record.stream)
                    missing, more = (wanted - found).total(), (found - wanted).total()
                    rate = found.total() / took.clock
                    told = "" if not missing + more else f"  {missing:,} MISSING, {more:,} not printed"
                    said = {record.text for record in stored if not record.stream}
                    print(f"{name:20}  {found.total():9,} lines  {rate:9,.0f} lines/s{told}", *said, flush=True)
        finally:
            await engine.close()


async def _build(engine: BuildKitEngine, dockerfile: str, report: Report) -> None:
    await engine.build(BuildRequest("1", "bench.test/log:1"), stream(context_tar({"Dockerfile": dockerfile})), report)


@asynccontextmanager
async def _engine(kind: str) -> AsyncIterator[str]:
    """The address of an engine that leaves nothing out."""
    os.environ["BUILDKIT_STEP_LOG_MAX_SIZE"] = os.environ["BUILDKIT_STEP_LOG_MAX_SPEED"] = str(2**31 - 1)
    if kind == "newer":
        with newer_engine() as socket:
            yield f"unix://{socket}"
    else:
        async with second_engine() as engine:
            yield engine.address
