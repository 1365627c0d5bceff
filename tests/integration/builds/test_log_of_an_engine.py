"""Every line that a step prints is told, by an engine that would forget them too, however late they are read."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from lumper.build.engines.buildkit import BuildKitEngine, status
from lumper.build.engines.buildkit.progress import CLIPPED
from lumper.build.engines.buildkit.status import Following
from lumper.build.port import BuildRequest
from lumper.model.builds.build import Output, Progress
from parts.engines.context import BASE, context_tar, stream
from parts.engines.second_engine import second_engine

pytestmark = pytest.mark.docker

LINES = 300_000
MANY = 1_500_000
BUSYBOX = f"{BASE}COPY busybox /bin/busybox\n"
PRINTS = (
    f"{BUSYBOX}RUN busybox yes 'cc -O2 -c src/module.c -o build/object' | busybox head -n {LINES} | busybox cat -n\n"
)
WHOLE = 2**31 - 1


@pytest.fixture
async def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[BuildKitEngine]:
    """An engine that leaves nothing out, unless the test says otherwise."""
    if getattr(request, "param", WHOLE):
        monkeypatch.setenv("BUILDKIT_STEP_LOG_MAX_SIZE", str(WHOLE))
        monkeypatch.setenv("BUILDKIT_STEP_LOG_MAX_SPEED", str(WHOLE))
    async with second_engine() as second:
        engine = BuildKitEngine(second.address)
        yield engine
        await engine.close()


async def told(engine: BuildKitEngine, dockerfile: str, *, busy: float = 0) -> list[Output]:
    """What a build prints; whoever hears it does nothing else for so many seconds when the first line comes."""
    heard: list[Output] = []

    def report(record: Progress) -> None:
        if isinstance(record, Output):
            if busy and not heard:
                time.sleep(busy)
            heard.append(record)

    await engine.build(
        BuildRequest("1", "127.0.0.1:5/app:log"), stream(context_tar({"Dockerfile": dockerfile})), report
    )
    return heard


def numbers(records: list[Output], stream: int = 1) -> list[int]:
    return [int(line.split()[0]) for record in records if record.stream == stream for line in record.text.split("\n")]


@pytest.mark.parametrize("busy", [0.0, 3.0])
async def test_no_line_is_lost_however_busy_the_worker_is(engine: BuildKitEngine, busy: float) -> None:
    records = await told(engine, PRINTS, busy=busy)
    assert numbers(records) == list(range(1, LINES + 1))
    assert [record.text for record in records if record.stream != 1] == []


async def test_steps_that_print_side_by_side_lose_nothing(engine: BuildKitEngine) -> None:
    seq = f"busybox seq {LINES}"
    both = f"{BUSYBOX}RUN {seq} & {seq} >&2; wait\nFROM scratch\nCOPY --from=0 /bin/busybox /\n"
    records = await told(engine, both)
    assert numbers(records, 1) == numbers(records, 2) == list(range(1, LINES + 1))


async def test_a_call_that_stands_by_is_renewed_before_the_engine_keeps_much_for_it_and_nothing_is_lost(
    engine: BuildKitEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    renewed: list[Following] = []
    stand_by = Following._standby

    def count(following: Following) -> Any:
        renewed.append(following)
        return stand_by(following)

    monkeypatch.setattr(status, "RENEWED", 1024 * 1024)
    monkeypatch.setattr(Following, "_standby", count)
    assert numbers(await told(engine, PRINTS.replace(str(LINES), str(MANY)))) == list(range(1, MANY + 1))
    assert len(renewed) >= 2  # how often it is looked depends on the pace of the engine


@pytest.mark.parametrize("engine", [0], indirect=True)
async def test_where_the_engine_leaves_lines_out_the_log_says_so_and_whose_doing_it_is(engine: BuildKitEngine) -> None:
    records = await told(engine, PRINTS)
    texts = [line for record in records for line in record.text.split("\n")]
    notice = next(at for at, text in enumerate(texts) if "[output clipped, log " in text)
    assert texts[notice + 1] == CLIPPED
    assert [int(text.split()[0]) for text in texts[: notice - 1]] == list(range(1, notice))
